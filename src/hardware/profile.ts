/** What is known of one device under one serving stack: datasheet, kernel models, where each number comes from. */
import { z } from 'zod';
import { gemmKinds } from './kernel-call.ts';
import { bandSchema, kernelModelSchema } from './kernel-model.ts';
import { kvFormats } from './number-format.ts';

const positive = z.number().positive();
const count = z.int().positive();

const deviceSchema = z.strictObject({
  description: z.string().min(1),
  memoryBytes: positive,
  bandwidthBytesPerSecond: positive,
  /** Dense peak (FLOP/s) by the format of the operands: `bf16`, `fp8`, ... */
  peakFlops: z.record(z.string(), positive),
  /** Each way between two devices of one node. */
  linkBytesPerSecond: positive.optional(),
  /** Memory that the runtime keeps for itself: context, workspaces, fragmentation. */
  reserveBytes: z.number().nonnegative(),
});

const gemmKernelSchema = z.strictObject({ kind: z.enum(gemmKinds), model: kernelModelSchema });

const attentionKernelSchema = z.strictObject({
  format: z.enum(['fp32', 'fp16', 'bf16', 'fp8']),
  kv: z.enum(kvFormats),
  headDim: count,
  window: count.optional(),
  model: kernelModelSchema,
});

const provenanceSchema = z.strictObject({
  /** Which figures of the profile it is about. */
  what: z.string().min(1),
  source: z.string().min(1),
  commit: z.string().optional(),
  licence: z.string().optional(),
  date: z.iso.date(),
});

const streamingSchema = z.strictObject({
  bandwidthEfficiency: positive,
  overheadMs: z.number().nonnegative(),
  band: bandSchema,
  source: z.enum(['fitted', 'extrapolated']),
});

export const profileSchema = z.strictObject({
  schema: z.literal('puzzle/hardware-profile@1'),
  /** `h100-sxm`, `h100-sxm/vllm`. */
  name: z.string().min(1),
  /** Serving software and version the kernels were timed under; `datasheet` where none was. */
  stack: z.string().min(1),
  device: deviceSchema,
  gemm: z.array(gemmKernelSchema).min(1),
  prefill: z.array(attentionKernelSchema).min(1),
  decode: z.array(attentionKernelSchema).min(1),
  /** Work bound by memory: norms, activations, residual sums, gathers. */
  streaming: streamingSchema,
  /** What finding an fp8 scale costs (reading 16 bits and writing 8 per element); absent where not timed. */
  fp8Scale: streamingSchema.optional(),
  /** Sums over a tensor-parallel group, by message size; times between sizes are interpolated. */
  allReduce: z.array(z.strictObject({ devices: count, bytes: z.array(positive), ms: z.array(positive) })),
  /** True time over summed kernel time of whole runs, where one was given (`puzzle calibrate --end-to-end`). */
  endToEnd: z.strictObject({ factor: positive }).optional(),
  provenance: z.array(provenanceSchema).min(1),
});

export type HardwareProfile = z.output<typeof profileSchema>;
export type Streaming = z.output<typeof streamingSchema>;
export type DeviceFacts = z.output<typeof deviceSchema>;
export type GemmKernel = z.output<typeof gemmKernelSchema>;
export type AttentionKernel = z.output<typeof attentionKernelSchema>;
