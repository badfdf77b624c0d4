/** The kernels a cost model can time, the work each does, and where each lies on a grid. */
import type { Coordinates } from './grid.ts';
import { elementBytes } from './number-format.ts';
import type { ActivationFormat, KvFormat } from './number-format.ts';
import type { Work } from './smooth.ts';

/**
 * How a matrix product reads its operands: names of the profile's `gemm` entries. `fp8` finds the activations' scale in
 * each call (dynamic), `fp8-static` has it beforehand.
 */
export const gemmKinds = [
  'fp32',
  'fp16',
  'bf16',
  'fp8',
  'fp8-static',
  'fp8-block',
  'nvfp4',
  'int8',
  'int8-weights',
  'int4-weights',
] as const;
export type GemmKind = (typeof gemmKinds)[number];

/** Bytes a weight takes in memory; activations enter and leave in 16 bits (fp32: 32), quantised inside the kernel. */
const gemmWeightBytes: Readonly<Record<GemmKind, number>> = {
  fp32: 4,
  fp16: 2,
  bf16: 2,
  fp8: 1,
  'fp8-static': 1,
  'fp8-block': 1,
  nvfp4: 0.5 + 1 / 16,
  int8: 1,
  'int8-weights': 1,
  'int4-weights': 0.5 + 2 / 128,
};

/** A matrix product (m, k) x (k, n). */
export interface GemmCall {
  readonly kind: GemmKind;
  readonly m: number;
  readonly n: number;
  readonly k: number;
}

/** Attention of `batch` sequences: over their own `length` tokens (prefill) or of one new token over them (decode). */
export interface AttentionCall {
  readonly phase: 'prefill' | 'decode';
  /** Format in which scores are computed. */
  readonly format: ActivationFormat | 'fp8';
  readonly kv: KvFormat;
  readonly heads: number;
  readonly kvHeads: number;
  readonly headDim: number;
  /** Sliding window; undefined sees everything. */
  readonly window?: number;
  readonly batch: number;
  readonly length: number;
}

/** One launch of anything that takes time on a device. */
export type KernelCall =
  | { readonly op: 'gemm'; readonly call: GemmCall }
  | { readonly op: 'attention'; readonly call: AttentionCall }
  /** Work that only moves bytes: norms, activations, residual sums, gathers. */
  | { readonly op: 'stream'; readonly bytes: number; readonly flops: number }
  /** A sum over `devices` of a message of `bytes`. */
  | { readonly op: 'all-reduce'; readonly bytes: number; readonly devices: number };

export function gemmWork({ kind, m, n, k }: GemmCall): Work {
  const activationBytes = kind === 'fp32' ? 4 : 2;
  return {
    flops: 2 * m * n * k,
    bytes: n * k * gemmWeightBytes[kind] + m * (n + k) * activationBytes,
    ramps: [m, n, k],
  };
}

export const gemmCoordinates = ({ m, n, k }: GemmCall): Coordinates => ({ m, n, k });

export function attentionWork(call: AttentionCall): Work {
  const { phase, batch, length, heads, kvHeads, headDim, window } = call;
  const seen = Math.min(length, window ?? Infinity);
  const decode = phase === 'decode';
  // Pairs of query and key that meet: a row, or a triangle cut to a band of the window's width.
  const pairs = decode ? seen : seen * length - (seen * seen) / 2;
  const queries = decode ? 1 : length;
  const keys = decode ? seen : length;
  return {
    flops: 4 * batch * heads * headDim * pairs,
    bytes:
      2 * batch * kvHeads * headDim * keys * elementBytes(call.kv) +
      2 * batch * heads * headDim * queries * (call.format === 'fp32' ? 4 : 2),
    ramps: [keys, batch * kvHeads],
  };
}

/**
 * `work` = independent (sequence, KV head) pairs, which is how kernels are spread over a device. `group` = query heads
 * per KV head, rounded up to a power of two: kernels pad it to their tile, and switch with it.
 */
export const attentionCoordinates = ({
  heads,
  kvHeads,
  headDim,
  batch,
  length,
}: AttentionCall): Coordinates => ({
  length,
  group: 2 ** Math.ceil(Math.log2(heads / kvHeads)),
  work: batch * kvHeads,
  kvHeads,
  batch,
  headDim,
});
