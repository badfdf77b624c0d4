/** The time of one operator on one device, from its extents: which kernel model answers, and how surely. */
import { attentionCoordinates, attentionWork, gemmCoordinates, gemmWork } from './kernel-call.ts';
import type { AttentionCall, GemmCall, GemmKind } from './kernel-call.ts';
import { kernelTime, widened } from './kernel-model.ts';
import type { AttentionKernel, HardwareProfile } from './profile.ts';
import { quantity, zero } from './quantity.ts';
import type { Quantity } from './quantity.ts';

/** What stands in for a kernel that was not timed: one that moves the same bytes, or computes in the same format. */
const substitutes: Readonly<Record<GemmKind, readonly GemmKind[]>> = {
  fp32: ['bf16', 'fp16'],
  fp16: ['bf16', 'fp32'],
  bf16: ['fp16', 'fp32'],
  fp8: ['fp8-block', 'int8', 'int8-weights', 'bf16', 'fp32'],
  'fp8-block': ['fp8', 'bf16', 'fp32'],
  nvfp4: ['int4-weights', 'fp8', 'bf16', 'fp32'],
  int8: ['fp8', 'int8-weights', 'bf16', 'fp32'],
  'int8-weights': ['int8', 'bf16', 'fp32'],
  'int4-weights': ['int8-weights', 'bf16', 'fp32'],
};

/** A stand-in's band is as wide as if the call lay this many octaves outside its grid. */
const octavesOfSubstitute = 1;

/** Time of one matrix product, in ms. */
export function gemmTime(profile: HardwareProfile, call: GemmCall): Quantity {
  const { bandwidthBytesPerSecond } = profile.device;
  const work = gemmWork(call);
  for (const kind of [call.kind, ...substitutes[call.kind]]) {
    const kernel = profile.gemm.find((candidate) => candidate.kind === kind);
    if (kernel === undefined) continue;
    const time = kernelTime(kernel.model, work, gemmCoordinates(call), call.m, bandwidthBytesPerSecond);
    // 16-bit floats take the same time in every kernel we know.
    const same = kind === call.kind || (kind === 'bf16' && call.kind === 'fp16');
    return same ? time : unsure(time, octavesOfSubstitute);
  }
  throw new RangeError(`profile ${profile.name} has no kernel for products`);
}

/** Time of attention proper, in ms: scores, softmax, context, cache write (and RoPE, in TensorRT-LLM's kernels). */
export function attentionTime(profile: HardwareProfile, call: AttentionCall): Quantity {
  const { kernel, octaves } = nearestAttention(profile[call.phase], call);
  // A window that was not timed: the same kernel over fewer keys.
  const length = kernel.window === call.window ? call.length : Math.min(call.length, call.window ?? Infinity);
  const coordinates = attentionCoordinates(call.phase === 'decode' ? { ...call, length } : call);
  const time = kernelTime(
    kernel.model,
    attentionWork(call),
    coordinates,
    coordinates['length']!,
    profile.device.bandwidthBytesPerSecond,
  );
  return octaves === 0 ? time : unsure(time, octaves);
}

/** The timed kernel most like the call, and how unlike it is, in octaves. */
function nearestAttention(
  kernels: readonly AttentionKernel[],
  call: AttentionCall,
): { readonly kernel: AttentionKernel; readonly octaves: number } {
  let best: { kernel: AttentionKernel; octaves: number } | undefined;
  for (const kernel of kernels) {
    const octaves =
      Math.abs(Math.log2(kernel.headDim / call.headDim)) +
      (kernel.format === call.format || (kernel.format === 'bf16' && call.format === 'fp16') ? 0 : 1) +
      (kernel.kv === call.kv || (kernel.kv === 'bf16' && call.kv === 'fp16') ? 0 : 1) +
      (kernel.window === call.window ? 0 : kernel.window === undefined ? 0.5 : 3);
    if (best === undefined || octaves < best.octaves) best = { kernel, octaves };
  }
  return best!;
}

function unsure(time: Quantity, octaves: number): Quantity {
  const band = { low: time.errorBand.low / time.value, high: time.errorBand.high / time.value };
  return quantity(time.value, 'extrapolated', widened(band, octaves));
}

/** Time of work that only moves `bytes`: norms, activations, residual sums, gathers. */
export function streamingTime(profile: HardwareProfile, bytes: number): Quantity {
  const { bandwidthEfficiency, overheadMs, band, source } = profile.streaming;
  const ms = (bytes / (profile.device.bandwidthBytesPerSecond * bandwidthEfficiency)) * 1e3 + overheadMs;
  return quantity(ms, source, band);
}

/** Time of a sum over `devices` of a message of `bytes`. */
export function allReduceTime(profile: HardwareProfile, bytes: number, devices: number): Quantity {
  if (devices === 1) return zero;
  const table = profile.allReduce.find((candidate) => candidate.devices === devices);
  if (table === undefined) {
    // Ring: 2 (d - 1) / d of the message cross each link; 10 us to start, as NCCL takes on PCIe and NVLink alike.
    const link = profile.device.linkBytesPerSecond ?? profile.device.bandwidthBytesPerSecond / 30;
    return quantity(((2 * (devices - 1)) / devices) * (bytes / link) * 1e3 + 0.01, 'extrapolated', {
      low: 0.4,
      high: 2.5,
    });
  }
  const last = table.bytes.length - 1;
  let lower = 0;
  while (lower < last - 1 && table.bytes[lower + 1]! <= bytes) lower++;
  const [x0, x1, y0, y1] = [
    table.bytes[lower]!,
    table.bytes[lower + 1]!,
    table.ms[lower]!,
    table.ms[lower + 1]!,
  ];
  const inside = bytes >= x0 && bytes <= x1;
  // Below the smallest message only the start is paid.
  const ms = bytes < x0 ? y0 : y0 + ((y1 - y0) * (bytes - x0)) / (x1 - x0);
  return quantity(ms, inside ? 'interpolated' : 'extrapolated', { low: 0.85, high: 1.15 });
}
