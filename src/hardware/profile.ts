/** What is known of one device under one serving stack: datasheet, fitted models, where each number comes from. */
import { readFileSync, readdirSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { z } from 'zod';
import { PuzzleError } from '../util/errors.ts';

const positive = z.number().positive();
const fraction = z.number().positive().max(2);

/** Where a figure comes from. */
const provenanceSchema = z.strictObject({
  what: z.string(),
  source: z.string(),
  commit: z.string().optional(),
  licence: z.string().optional(),
  date: z.string(),
});

/** Factors around a value that hold the truth nine times of ten. */
const bandSchema = z.strictObject({ low: positive, high: positive });

/**
 * A kernel's time as a smooth function of its work:
 * tc = F / (P ec) * prod(1 + a_i / x_i), tm = B / (BW em), t = (tc^p + tm^p)^(1/p) + t0.
 */
const smoothSchema = z.strictObject({
  computeEfficiency: fraction,
  bandwidthEfficiency: fraction,
  /** a_i: the extents at which compute runs at half its rate. */
  halfExtents: z.array(z.number().nonnegative()),
  sharpness: positive,
  overheadMs: z.number().nonnegative(),
});

const kernelSchema = z.strictObject({ peakFlops: positive, smooth: smoothSchema, band: bandSchema });

export const profileSchema = z.strictObject({
  schema: z.literal('puzzle/hardware-profile@1'),
  name: z.string(),
  stack: z.string(),
  device: z.strictObject({
    description: z.string(),
    memoryBytes: positive,
    bandwidthBytesPerSecond: positive,
    /** Dense peak per number format of the operands. */
    peakFlops: z.record(z.string(), positive),
    /** Per direction between two devices of one node. */
    linkBytesPerSecond: positive.optional(),
    reserveBytes: z.number().nonnegative(),
  }),
  /** The least sure source any answer of this profile may claim. */
  floor: z.enum(['measured', 'interpolated', 'fitted', 'extrapolated']),
  gemm: z.record(z.string(), kernelSchema),
  prefillAttention: kernelSchema,
  decodeAttention: kernelSchema,
  /** Work bound by memory: norms, activations, residual adds. */
  streaming: z.strictObject({
    bandwidthEfficiency: fraction,
    overheadMs: z.number().nonnegative(),
    band: bandSchema,
  }),
  provenance: z.array(provenanceSchema),
});

export type HardwareProfile = z.output<typeof profileSchema>;
export type Kernel = z.output<typeof kernelSchema>;
export type Smooth = z.output<typeof smoothSchema>;

const shipped = fileURLToPath(new URL('../../hardware-profiles/', import.meta.url));

/** Short names people type. */
const aliases: Readonly<Record<string, string>> = {
  h100: 'h100-sxm',
  h200: 'h200-sxm',
  a100: 'a100-sxm',
  cpu: 'generic-cpu',
};

/** Names of the shipped profiles: `h100-sxm`, `h100-sxm/vllm`, ... */
export function profileNames(): readonly string[] {
  return readdirSync(shipped)
    .filter((file) => file.endsWith('.json'))
    .map((file) => file.slice(0, -'.json'.length).replace('__', '/'))
    .sort();
}

/**
 * A profile by name (`h100`, `h100-sxm/vllm`) or from a file.
 * @throws PuzzleError `file-missing` for an unknown name, `file-invalid` for a profile that breaks the schema.
 */
export function loadProfile(nameOrFile: string): HardwareProfile {
  const [device = '', stack] = nameOrFile.split('/');
  const name = [aliases[device] ?? device, ...(stack === undefined ? [] : [stack])].join('/');
  const isName = profileNames().includes(name);
  const path = isName ? `${shipped}${name.replace('/', '__')}.json` : nameOrFile;
  let text: string;
  try {
    text = readFileSync(path, 'utf8');
  } catch (cause) {
    throw new PuzzleError('file-missing', `no hardware profile "${nameOrFile}"`, {
      at: nameOrFile,
      fix: `Give a profile file or one of: ${profileNames().join(', ')}.`,
      cause,
    });
  }
  return parseProfile(text, nameOrFile);
}

/** @throws PuzzleError `file-invalid` naming the field. */
export function parseProfile(text: string, at: string): HardwareProfile {
  let json: unknown;
  try {
    json = JSON.parse(text);
  } catch (cause) {
    throw new PuzzleError('file-invalid', 'the profile is no JSON', {
      at,
      cause,
      fix: 'Give a file written by puzzle calibrate or puzzle profile.',
    });
  }
  const parsed = profileSchema.safeParse(json);
  if (parsed.success) return parsed.data;
  const issue = parsed.error.issues[0]!;
  throw new PuzzleError('file-invalid', `hardware profile: ${issue.message}`, {
    at: [at, ...issue.path].join(': '),
    fix: 'See docs/hardware.md for the fields of a profile.',
  });
}
