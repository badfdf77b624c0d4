/** The time of one operator on one device, from its extents. */
import { elementBytes } from './number-format.ts';
import type { ActivationFormat, KvFormat, WeightFormat } from './number-format.ts';
import type { HardwareProfile, Kernel, Smooth } from './profile.ts';
import { quantity, zero } from './quantity.ts';
import type { Quantity } from './quantity.ts';

/** A matrix product (m, k) x (k, n). */
export interface GemmCall {
  readonly m: number;
  readonly n: number;
  readonly k: number;
  readonly weights: WeightFormat;
  readonly activations: ActivationFormat;
}

/** Attention of `batch` sequences: over their own `length` tokens (prefill) or of one new token over them (decode). */
export interface AttentionCall {
  readonly phase: 'prefill' | 'decode';
  readonly heads: number;
  readonly kvHeads: number;
  readonly headDim: number;
  readonly window?: number;
  readonly batch: number;
  readonly length: number;
  readonly activations: ActivationFormat;
  readonly kv: KvFormat;
}

/** t = (tc^p + tm^p)^(1/p) + t0, in ms. */
function smoothTimeMs(
  s: Smooth,
  work: { readonly flops: number; readonly bytes: number; readonly extents: readonly number[] },
  peakFlops: number,
  bandwidth: number,
): number {
  let computeMs = (work.flops / (peakFlops * s.computeEfficiency)) * 1e3;
  for (const [i, half] of s.halfExtents.entries()) computeMs *= 1 + half / work.extents[i]!;
  const memoryMs = (work.bytes / (bandwidth * s.bandwidthEfficiency)) * 1e3;
  return (computeMs ** s.sharpness + memoryMs ** s.sharpness) ** (1 / s.sharpness) + s.overheadMs;
}

function timed(profile: HardwareProfile, kernel: Kernel, work: Parameters<typeof smoothTimeMs>[1]): Quantity {
  const ms = smoothTimeMs(kernel.smooth, work, kernel.peakFlops, profile.device.bandwidthBytesPerSecond);
  return quantity(ms, profile.floor, kernel.band);
}

/** Time of one matrix product. */
export function gemmTime(profile: HardwareProfile, { m, n, k, weights, activations }: GemmCall): Quantity {
  const kernel = profile.gemm[weights] ?? profile.gemm[activations] ?? Object.values(profile.gemm)[0]!;
  const bytes = n * k * elementBytes(weights) + m * (n + k) * elementBytes(activations);
  return timed(profile, kernel, { flops: 2 * m * n * k, bytes, extents: [m, n, k] });
}

/** Time of attention proper: scores, softmax, context, RoPE and cache write. */
export function attentionTime(profile: HardwareProfile, call: AttentionCall): Quantity {
  const { batch, length, heads, kvHeads, headDim, window, kv, activations } = call;
  const seen = Math.min(length, window ?? Infinity);
  // Pairs of query and key that meet: a triangle, or a band of the window's width.
  const pairs = call.phase === 'decode' ? seen : seen * length - (seen * seen) / 2;
  const queries = call.phase === 'decode' ? 1 : length;
  const keys = call.phase === 'decode' ? seen : length;
  const flops = 4 * batch * heads * headDim * pairs;
  const bytes =
    2 * batch * kvHeads * headDim * keys * elementBytes(kv) +
    2 * batch * heads * headDim * queries * elementBytes(activations);
  const kernel = call.phase === 'decode' ? profile.decodeAttention : profile.prefillAttention;
  return timed(profile, kernel, { flops, bytes, extents: [keys, batch * kvHeads] });
}

/** Time of work that only moves `bytes`: norms, activations, residual adds, gathers. */
export function streamingTime(profile: HardwareProfile, bytes: number): Quantity {
  const { bandwidthEfficiency, overheadMs, band } = profile.streaming;
  const ms = (bytes / (profile.device.bandwidthBytesPerSecond * bandwidthEfficiency)) * 1e3 + overheadMs;
  return quantity(ms, profile.floor, band);
}

/** Time of a sum over `devices` of `bytes` each (ring: 2 (d - 1) / d of the bytes cross each link). */
export function allReduceTime(profile: HardwareProfile, bytes: number, devices: number): Quantity {
  if (devices === 1) return zero;
  const link = profile.device.linkBytesPerSecond ?? profile.device.bandwidthBytesPerSecond / 10;
  const ms = ((2 * (devices - 1)) / devices) * (bytes / link) * 1e3 + 0.01;
  return quantity(ms, 'extrapolated', { low: 0.5, high: 2 });
}
