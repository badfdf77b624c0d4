/**
 * The way back through a model: from a random square root of the Fisher matrix at the head, slot by slot to the
 * gradient at any place of the stream. Each slot repeats its forward inside its own graph, so only the stream between
 * slots is ever kept.
 */
import { blockForward, blockKey, blockOf } from '../blocks/index.ts';
import {
  gemm,
  gradient,
  input,
  mul,
  reduceSum,
  softmax,
  sqrt,
  stopGradient,
  sub,
  type Graph,
} from '../graph/index.ts';
import type { BlockConfig, StreamConfig } from '../model/architecture.ts';
import type { Resident } from '../runtime/index.ts';
import { float32 } from '../tensor/tensor.ts';
import type { Random } from '../util/random.ts';
import type { Execution, PlacedBlock } from './execution.ts';
import { headInputs, inChunks, logitsOf } from './head.ts';
import { remembered } from './remembered.ts';
import { namedInputs, weightFeeds, type Windows } from './stream.ts';

/**
 * A gradient at the stream's end whose outer product has the Fisher matrix as its mean. With p the model's own
 * next-token distribution, E_v the head's rows, e = sum_v p_v E_v, and random signs s_t of the tokens and r_v of the
 * vocabulary,
 *
 *     g_t = s_t sum_v sqrt(p_v) r_v (E_v - e),   so   E g_t g_t^T = sum_v p_v (E_v - e)(E_v - e)^T   and   E g_t g_u^T = 0,
 *
 * carried through the final norm. A label drawn from p has the same mean, but where the model is sure of a token it is
 * almost always nearly zero and very rarely huge: docs/decisions/0005.
 *
 * @param x the stream after the last slot (rows, hidden); stays the caller's
 * @returns (rows, hidden), the caller's to release
 */
export async function fisherRoot(
  { runtime, worker, architecture, stream }: Execution,
  x: Resident,
  random: Random,
): Promise<Resident> {
  const rows = x.shape[0]!;
  const signs = (count: number): Float32Array =>
    Float32Array.from({ length: count }, () => (random.uniform() < 0.5 ? -1 : 1));
  const { root } = await runtime.run(
    fisherGraph(architecture.stream, rows),
    {
      x,
      norm: stream.norm,
      head: stream.head,
      tokenSigns: float32(signs(rows), [rows, 1]),
      vocabularySigns: float32(signs(architecture.stream.vocabularySize), [
        architecture.stream.vocabularySize,
      ]),
    },
    { keep: ['root'], worker },
  );
  return root;
}

const fisherGraph = (stream: StreamConfig, rows: number): Graph =>
  remembered(['fisher root', stream, rows], () => {
    const { x, norm, head } = headInputs(stream, rows);
    const tokenSigns = input('tokenSigns', 'float32', [rows, 1]);
    const vocabularySigns = input('vocabularySigns', 'float32', [stream.vocabularySize]);
    return inChunks(stream, rows, (part) => {
      const end = part(x);
      const { normed, logits } = logitsOf(end, norm, head, stream);
      const p = softmax(logits); // (chunk, vocabulary)
      const signed = mul(sqrt(p), vocabularySigns);
      const centred = sub(signed, mul(p, reduceSum(signed, { axes: [1], keepDims: true })));
      const atHead = mul(gemm(centred, head), part(tokenSigns)); // (chunk, vocabulary) x (vocabulary, hidden)
      return { root: gradient(reduceSum(mul(normed, stopGradient(atHead))), [end])[0]! };
    });
  });

/**
 * The gradient before a block from the gradient after it.
 * @param x the stream before the block (batch * tokens, hidden), the caller's like `after`
 * @returns (batch * tokens, hidden), the caller's to release; `after` itself where the block adds nothing
 */
export async function backward(
  model: Execution,
  { config, weights }: PlacedBlock,
  x: Resident,
  windows: Windows,
  after: Resident,
): Promise<Resident> {
  if (blockOf(config).output === undefined) return after;
  const { before } = await model.runtime.run(
    backwardGraph(config, model.architecture.stream, windows),
    { x, after, ...weightFeeds(weights) },
    { keep: ['before'], worker: model.worker },
  );
  return before;
}

const backwardGraph = (config: BlockConfig, stream: StreamConfig, { batch, tokens }: Windows): Graph =>
  remembered(['backward', blockKey(config), stream, batch, tokens], () => {
    const { x, weights } = namedInputs(config, stream, batch * tokens);
    const after = input('after', 'float32', [batch * tokens, stream.hidden]);
    const made = blockForward(x, weights, { config, stream, batch, tokens });
    return { before: gradient(reduceSum(mul(made.stream, after)), [x])[0]! };
  });
