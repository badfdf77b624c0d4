/** What a block computes at its place in the stream, as graph values that share their intermediate results. */
import { add, gemm } from '../graph/index.ts';
import type { Value } from '../graph/index.ts';
import type { BlockConfig } from '../model/architecture.ts';
import type { ForwardContext, Weights } from './block.ts';
import { blockOf } from './registry.ts';
import { rmsNorm } from './rms-norm.ts';

/** All (batch * tokens, ...); absent where the block has no such thing. */
export interface BlockForward {
  /** The stream after the block's norm. */
  readonly normed?: Value;
  /** What enters the output matrix. */
  readonly features?: Value;
  /** What the block adds to the stream. */
  readonly delta?: Value;
  /** The stream after the block. */
  readonly stream: Value;
}

/**
 * @param x the stream (batch * tokens, hidden)
 * @param weights values of the shapes that the block's `weights` states
 */
export function blockForward(
  x: Value,
  weights: Weights<Value>,
  context: ForwardContext<BlockConfig>,
): BlockForward {
  const block = blockOf(context.config);
  if (block.output === undefined) return { stream: x };
  const normed = rmsNorm(x, weights.norm!, context.stream.normEpsilon);
  const features = block.features(normed, weights, context);
  if (features === undefined) throw new RangeError(`${block.kind} has an output matrix but no features`);
  const delta = gemm(features, weights[block.output]!, { transposeB: true }); // (rows, features) x (features, hidden)
  return { normed, features, delta, stream: add(x, delta) };
}
