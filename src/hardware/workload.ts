/** What the model is asked to do: how many requests of what length, in which number formats, on how many devices. */
import { z } from 'zod';
import { PuzzleError } from '../util/errors.ts';
import { activationFormats, kvFormats, weightFormats } from './number-format.ts';

const count = z.int().positive();

export const workloadSchema = z.strictObject({
  /** Requests that run together, all of one length. */
  batch: count.default(1),
  inputTokens: count.default(1024),
  outputTokens: z.int().nonnegative().default(1024),
  weights: z.enum(weightFormats).default('bf16'),
  /** Embedding and head; serving stacks often leave them in 16 bits. Default: as the other weights. */
  embeddings: z.enum(weightFormats).optional(),
  /** Whether the activations' fp8 scale is found in each product or was fixed when the weights were quantised. */
  fp8Scales: z.enum(['dynamic', 'static']).default('dynamic'),
  activations: z.enum(activationFormats).default('bf16'),
  kv: z.enum(kvFormats).default('bf16'),
  tensorParallel: count.default(1),
  /** Most tokens in one prefill pass (TensorRT-LLM's `max_num_tokens` and vLLM's `max_num_batched_tokens`). */
  prefillTokens: count.default(8192),
  /** Whether a prompt may be split over passes; without it a pass holds whole prompts. */
  chunkedPrefill: z.boolean().default(false),
  /** Tokens per page of the KV cache; a sequence occupies whole pages. 1 counts tokens exactly. */
  kvPageTokens: count.default(1),
  /** Memory per device kept for the runtime: context, workspaces, fragmentation. Default: the profile's. */
  reserveBytes: z.number().nonnegative().optional(),
});

export type Workload = z.output<typeof workloadSchema>;

/**
 * A workload from its given parts and the defaults.
 * @throws PuzzleError `bad-usage` naming the field.
 */
export function workload(given: z.input<typeof workloadSchema> = {}): Workload {
  const parsed = workloadSchema.safeParse(given);
  if (parsed.success) return parsed.data;
  const issue = parsed.error.issues[0]!;
  throw new PuzzleError('bad-usage', `workload: ${issue.message}`, {
    at: issue.path.join('.'),
    fix: 'Give positive whole numbers and one of the known formats.',
  });
}

/** How prefill is cut into passes. */
export interface PrefillPlan {
  /** Matrix products run `gemmPasses` times on `gemmTokens` rows. */
  readonly gemmPasses: number;
  readonly gemmTokens: number;
  /** Attention runs `attentionPasses` times on `sequences` whole prompts. */
  readonly attentionPasses: number;
  readonly sequences: number;
}

/**
 * Passes are counted as a steady stream (a last, smaller pass counts by its share). A chunk's attention reads the keys
 * of the chunks before it; the sum over chunks is the whole prompt's triangle, so attention is costed on whole prompts.
 */
export function prefillPlan(w: Workload): PrefillPlan {
  const sequences = Math.max(1, Math.min(w.batch, Math.floor(w.prefillTokens / w.inputTokens)));
  const attentionPasses = w.batch / sequences;
  if (!w.chunkedPrefill) {
    return { gemmPasses: attentionPasses, gemmTokens: sequences * w.inputTokens, attentionPasses, sequences };
  }
  const gemmTokens = Math.min(w.prefillTokens, w.batch * w.inputTokens);
  return { gemmPasses: (w.batch * w.inputTokens) / gemmTokens, gemmTokens, attentionPasses, sequences };
}

/**
 * KV-cache lengths at which one decode step is timed: the three Gauss-Legendre nodes of the interval through which the
 * cache grows, and their weights, which sum to the number of steps.
 */
export function decodeSteps(w: Workload): readonly { readonly length: number; readonly steps: number }[] {
  if (w.outputTokens === 0) return [];
  const offset = Math.sqrt(3 / 5) / 2;
  return [
    { at: 0.5 - offset, weight: 5 / 18 },
    { at: 0.5, weight: 8 / 18 },
    { at: 0.5 + offset, weight: 5 / 18 },
  ].map(({ at, weight }) => ({
    length: Math.round(w.inputTokens + at * w.outputTokens),
    steps: weight * w.outputTokens,
  }));
}

/** Tokens a sequence's cache holds at its end, in whole pages, never more than a sliding window keeps. */
export function cachedTokens(w: Workload, window?: number): number {
  const tokens = Math.min(w.inputTokens + w.outputTokens, window ?? Infinity);
  return Math.ceil(tokens / w.kvPageTokens) * w.kvPageTokens;
}
