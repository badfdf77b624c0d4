/** How sessions are compiled; each choice with its reason (measured on 2 cores with onnxruntime-node 1.30). */
import type { InferenceSession } from 'onnxruntime-node';
import type { WorkerOptions } from './protocol.ts';

/**
 * @param keep Outputs that stay on the device, where it has memory of its own and onnxruntime-node can hold it.
 * @param arena Whether the session keeps the memory of its intermediate values from run to run.
 */
export const sessionOptions = (
  { device, threads }: WorkerOptions,
  keep: readonly string[],
  arena: boolean,
): InferenceSession.SessionOptions => ({
  executionProviders: device === 'cpu' ? ['cpu'] : [device, 'cpu'],
  ...(device === 'webgpu' && {
    preferredOutputLocation: Object.fromEntries(keep.map((name) => [name, 'gpu-buffer' as const])),
  }),
  graphOptimizationLevel: 'all',
  executionMode: 'sequential',
  intraOpNumThreads: threads,
  interOpNumThreads: 1,
  enableMemPattern: true,
  // Without one, every run gets its memory anew from the system, page by page: a fifth of a block's time at 4096 tokens.
  // But an arena keeps a session's largest need for good, 420 MB after logits of 1024 tokens: see `Sessions`.
  enableCpuMemArena: arena,
  // Fatal only: errors come back as exceptions, warnings speak to developers of ONNX Runtime.
  logSeverityLevel: 4,
  extra: {
    session: {
      // Each session has its own thread pool whose idle threads spin by default: eight sessions used in turn ran at
      // 48 GFLOP/s with spinning, at 171 without (one alone: 131 and 179).
      intra_op: { allow_spinning: '0' },
    },
  },
});
