/** How sessions are compiled, each choice with its measurement (2 cores, onnxruntime-node 1.30). */
import type { InferenceSession } from 'onnxruntime-node';
import type { WorkerOptions } from './protocol.ts';

export const sessionOptions = ({ device, threads }: WorkerOptions): InferenceSession.SessionOptions => ({
  executionProviders: device === 'cpu' ? ['cpu'] : [device, 'cpu'],
  graphOptimizationLevel: 'all',
  intraOpNumThreads: threads,
  interOpNumThreads: 1,
  executionMode: 'sequential',
  enableMemPattern: true,
  enableCpuMemArena: true,
  // Warnings of ONNX Runtime speak to its developers.
  logSeverityLevel: 3,
  extra: {
    session: {
      // Each session has its own thread pool, and idle threads spin by default: eight sessions used in turn ran at
      // 48 GFLOP/s with spinning, 171 without (one alone: 131 and 179).
      intra_op: { allow_spinning: '0' },
    },
  },
});
