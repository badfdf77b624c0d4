/** Memory of one device by part: weights, KV cache, activations, reserve. */
import type { StreamConfig } from '../model/architecture.ts';
import type { BlockShape } from './block-shape.ts';
import { elementBytes } from './number-format.ts';
import { prefillPlan } from './workload.ts';
import type { Workload } from './workload.ts';

export interface MemoryBytes {
  readonly weights: number;
  readonly kv: number;
  readonly activations: number;
  readonly reserve: number;
  readonly total: number;
}

/** Parts summed up. */
export function memory(parts: Omit<MemoryBytes, 'total'>): MemoryBytes {
  return { ...parts, total: parts.weights + parts.kv + parts.activations + parts.reserve };
}

/**
 * Peak bytes of activations on one device: the stream in and out of the widest block, that block's widest input and
 * output, and the logits of the last tokens in fp32. Blocks run one after another, so the widest one decides.
 */
export function activationBytes(stream: StreamConfig, blocks: readonly BlockShape[], w: Workload): number {
  const tokens = Math.max(prefillPlan(w).gemmTokens, w.batch);
  let widest = 0;
  for (const { operators } of blocks) {
    for (const operator of operators) {
      if (operator.kind !== 'gemm') continue;
      const n = operator.parallel === 'column' ? operator.n / w.tensorParallel : operator.n;
      const k = operator.parallel === 'row' ? operator.k / w.tensorParallel : operator.k;
      widest = Math.max(widest, n + k);
    }
  }
  const logits = (4 * w.batch * stream.vocabularySize) / w.tensorParallel;
  return tokens * (2 * stream.hidden + widest) * elementBytes(w.activations) + logits;
}
