/** The time of one kernel call on one device: which kernel model answers, and how surely. */
import { attentionCoordinates, attentionWork, gemmCoordinates, gemmWork } from './kernel-call.ts';
import type { AttentionCall, GemmCall, GemmKind, KernelCall } from './kernel-call.ts';
import { kernelTime, widened } from './kernel-model.ts';
import type { AttentionKernel, GemmKernel, HardwareProfile, Streaming } from './profile.ts';
import { quantity, zero } from './quantity.ts';
import type { Quantity } from './quantity.ts';
import { smoothParts } from './smooth.ts';

/** Time of one call, in ms. */
export function callTime(profile: HardwareProfile, kernel: KernelCall): Quantity {
  switch (kernel.op) {
    case 'gemm':
      return gemmTime(profile, kernel.call);
    case 'attention':
      return attentionTime(profile, kernel.call);
    case 'stream':
      return streamingTime(profile, profile.streaming, kernel.bytes);
    case 'all-reduce':
      return allReduceTime(profile, kernel.bytes, kernel.devices);
  }
}

export const limits = ['compute', 'memory', 'launch', 'network'] as const;
/** What a call waits for: arithmetic, memory, its fixed start, or other devices. */
export type Limit = (typeof limits)[number];

/** The largest part of a call's modelled time. */
export function callLimit(profile: HardwareProfile, kernel: KernelCall): Limit {
  const { bandwidthBytesPerSecond: bytesPerSecond } = profile.device;
  switch (kernel.op) {
    case 'gemm':
    case 'attention': {
      const { flopsPerSecond, smooth } =
        kernel.op === 'gemm'
          ? gemmKernel(profile, kernel.call.kind).model
          : nearestAttention(profile[kernel.call.phase], kernel.call).kernel.model;
      const work = kernel.op === 'gemm' ? gemmWork(kernel.call) : attentionWork(kernel.call);
      const { computeMs, memoryMs } = smoothParts(smooth, work, { flopsPerSecond, bytesPerSecond });
      if (smooth.overheadMs >= Math.max(computeMs, memoryMs)) return 'launch';
      return computeMs >= memoryMs ? 'compute' : 'memory';
    }
    case 'stream': {
      const { overheadMs } = profile.streaming;
      return streamingTime(profile, profile.streaming, kernel.bytes).value >= 2 * overheadMs
        ? 'memory'
        : 'launch';
    }
    case 'all-reduce':
      return 'network';
  }
}

/** What stands in for a kernel that was not timed: one that moves the same bytes, or computes in the same format. */
const substitutes: Readonly<Record<GemmKind, readonly GemmKind[]>> = {
  fp32: ['bf16', 'fp16'],
  fp16: ['bf16', 'fp32'],
  bf16: ['fp16', 'fp32'],
  fp8: ['fp8-block', 'int8', 'int8-weights', 'bf16', 'fp32'],
  'fp8-static': ['fp8', 'fp8-block', 'int8', 'int8-weights', 'bf16', 'fp32'],
  'fp8-block': ['fp8', 'bf16', 'fp32'],
  nvfp4: ['int4-weights', 'fp8', 'bf16', 'fp32'],
  int8: ['fp8', 'int8-weights', 'bf16', 'fp32'],
  'int8-weights': ['int8', 'bf16', 'fp32'],
  'int4-weights': ['int8-weights', 'bf16', 'fp32'],
};

/** A stand-in's band is as wide as if the call lay this many octaves outside its grid. */
const octavesOfSubstitute = 1;

/** The kernel of a kind of product, or what stands in for it. */
function gemmKernel(profile: HardwareProfile, wanted: GemmKind): GemmKernel {
  for (const kind of [wanted, ...substitutes[wanted]]) {
    const kernel = profile.gemm.find((candidate) => candidate.kind === kind);
    if (kernel !== undefined) return kernel;
  }
  throw new RangeError(`profile ${profile.name} has no kernel for products`);
}

/** The rate at which products of this kind could run at most, or those that stand in for them. */
export const peakFlopsPerSecond = (profile: HardwareProfile, kind: GemmKind): number =>
  gemmKernel(profile, kind).model.flopsPerSecond;

/** Time of one matrix product, in ms. */
function gemmTime(profile: HardwareProfile, call: GemmCall): Quantity {
  const { kind, model } = gemmKernel(profile, call.kind);
  const { bandwidthBytesPerSecond } = profile.device;
  const time = kernelTime(model, gemmWork(call), gemmCoordinates(call), call.m, bandwidthBytesPerSecond);
  if (call.kind === 'fp8-static' && kind === 'fp8') return withoutScale(profile, call, time);
  // 16-bit floats take the same time in every kernel we know.
  const same = kind === call.kind || (kind === 'bf16' && call.kind === 'fp16');
  return same ? time : unsure(time, octavesOfSubstitute);
}

/** The dynamic kernel's time less that of finding the scale; the product itself takes at least half of the whole. */
function withoutScale(profile: HardwareProfile, { m, k }: GemmCall, dynamic: Quantity): Quantity {
  const scale = streamingTime(profile, profile.fp8Scale ?? profile.streaming, fp8ScaleBytes(m, k));
  const value = Math.max(dynamic.value - scale.value, dynamic.value / 2);
  const [below, above] = [
    Math.hypot(dynamic.value - dynamic.errorBand.low, scale.errorBand.high - scale.value),
    Math.hypot(dynamic.errorBand.high - dynamic.value, scale.value - scale.errorBand.low),
  ];
  const errorBand = { low: Math.max(value / 3, value - below), high: value + above };
  const source = dynamic.source === 'extrapolated' || !profile.fp8Scale ? 'extrapolated' : 'fitted';
  return { value, source, errorBand };
}

/** A 16-bit (m, k) matrix is read and written in fp8. */
export const fp8ScaleBytes = (m: number, k: number): number => m * k * (2 + 1);

/** Time of attention proper, in ms: scores, softmax, context, cache write (and RoPE, in TensorRT-LLM's kernels). */
function attentionTime(profile: HardwareProfile, call: AttentionCall): Quantity {
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

function streamingTime({ device }: HardwareProfile, streaming: Streaming, bytes: number): Quantity {
  const { bandwidthEfficiency, overheadMs, band, source } = streaming;
  const ms = (bytes / (device.bandwidthBytesPerSecond * bandwidthEfficiency)) * 1e3 + overheadMs;
  return quantity(ms, source, band);
}

function allReduceTime(profile: HardwareProfile, bytes: number, devices: number): Quantity {
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
