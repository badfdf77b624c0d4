/** What is timed on a machine, and what its repeats say. */
import { z } from 'zod';

const count = z.int().positive();
const configSchema = z.object({ kind: z.string() }).catchall(z.union([z.string(), z.number(), z.boolean()]));
const block = { part: z.literal('block'), config: configSchema, batch: count };

/** A block in one phase, or all of a decoder that is not blocks: launch, embedding, final norm, head, logits. */
export const timedSchema = z.union([
  z.strictObject({ ...block, phase: z.literal('prefill'), /** Of each prompt. */ tokens: count }),
  z.strictObject({
    ...block,
    phase: z.literal('decode'),
    /** Tokens in each sequence's cache before the new one. */
    length: count,
  }),
  z.strictObject({ part: z.literal('head'), batch: count }),
]);
export type Timed = z.output<typeof timedSchema>;

/** Milliseconds of one pass. */
export interface Timing {
  /** Undisturbed: other programs only ever add time, so the quickest repeats tell what the machine takes. */
  readonly ms: number;
  /** Nine of ten repeats, outliers left out. */
  readonly lowMs: number;
  readonly highMs: number;
  readonly repeats: number;
  /** Repeats further from the median than four standard deviations of the others. */
  readonly outliers: number;
}

/** Repeats end when the quickest few agree this well, or at a limit. */
const quickest = 3;
const agreement = 0.02;
const [fewestRepeats, mostRepeats] = [9, 60];
const mostMs = 6000;
const outlierDeviations = 4;

/**
 * Times `passes` of something as what a long run takes longer than a short one.
 * @param runs milliseconds of one long and one short run (0 where there is none)
 */
export async function repeated(
  runs: () => Promise<readonly [long: number, short: number]>,
  passes: number,
): Promise<Timing> {
  const long: number[] = [];
  const short: number[] = [];
  const start = performance.now();
  while (long.length < mostRepeats) {
    const [l, s] = await runs();
    long.push(l);
    short.push(s);
    const settled = agree(long) && agree(short);
    if (long.length >= fewestRepeats && (settled || performance.now() - start > mostMs)) break;
  }
  const ms = Math.max(0, undisturbed(long) - undisturbed(short)) / passes;
  const each = long.map((value, i) => Math.max(0, value - short[i]!) / passes).sort((a, b) => a - b);
  const kept = withoutOutliers(each);
  const at = (share: number): number => kept[Math.round(share * (kept.length - 1))]!;
  return {
    ms,
    lowMs: Math.min(ms, at(0.05)),
    highMs: Math.max(ms, at(0.95)),
    repeats: long.length,
    outliers: each.length - kept.length,
  };
}

const ascending = (samples: readonly number[]): readonly number[] => samples.toSorted((a, b) => a - b);

/** Mean of the quickest few. */
export const undisturbed = (samples: readonly number[]): number =>
  ascending(samples)
    .slice(0, quickest)
    .reduce((sum, value) => sum + value, 0) / Math.min(quickest, samples.length);

function agree(samples: readonly number[]): boolean {
  const [first = 0, , last = Infinity] = ascending(samples);
  return last - first <= agreement * first;
}

function withoutOutliers(sorted: readonly number[]): readonly number[] {
  const middle = (values: readonly number[]): number => values[Math.floor(values.length / 2)]!;
  const median = middle(sorted);
  // The median absolute deviation times 1.4826 estimates the standard deviation without the outliers.
  const deviation = 1.4826 * middle(ascending(sorted.map((value) => Math.abs(value - median))));
  return sorted.filter((value) => Math.abs(value - median) <= outlierDeviations * deviation);
}
