/**
 * A whole model as one graph that continues sequences: token ids and a KV cache in, logits and the grown cache out, on
 * ONNX Runtime's fused kernels. The same graph serves `puzzle generate` and is what `puzzle export --format onnx` writes.
 */
import {
  blockOf,
  reshapeTo,
  rmsNorm,
  servingHeadMultiple,
  withRows,
  flattened,
  whole,
  type ServingCache,
  type ServingContext,
  type Weights,
} from '../blocks/index.ts';
import {
  cast,
  concat,
  constant,
  fused,
  gather,
  gemm,
  input,
  reduceSum,
  replaceValues,
  reshape,
  result,
  slice,
  sub,
  symbolicGraph,
  type Graph,
  type Value,
} from '../graph/index.ts';
import type { Architecture, BlockConfig, Slot, StreamConfig } from '../model/architecture.ts';
import type { Shape } from '../tensor/tensor.ts';

import { quantisedProduct, type WeightFormat } from './quantised.ts';

/** Element type of weights, stream and cache. */
export type DecoderDType = 'float32' | 'float16';

export interface DecoderOptions {
  readonly dtype: DecoderDType;
  /** Tokens a sequence can have, its prompt included: what the rotation tables go up to. */
  readonly contextLength: number;
  /** How the matrices of products are held; default: as they are. Norms and the embedding stay. */
  readonly weights?: WeightFormat;
}

/** Inputs that every run is fed, named as in the exports of Hugging Face's libraries. */
export const portNames = {
  /** Token ids (batch, sequence), int64. */
  tokens: 'input_ids',
  /** 1 for each token of the sequences, cached ones included: (batch, total), int64. */
  mask: 'attention_mask',
  /** How many of the last tokens get logits, 0 for all: int64 scalar. */
  kept: 'num_logits_to_keep',
  /** (batch, kept, vocabulary), float32 */
  logits: 'logits',
} as const;

/** Keys and values of one attention block, and their ports: (batch, kvHeads, length, headDim) each. */
export interface CachePort {
  readonly layer: number;
  readonly kvHeads: number;
  readonly headDim: number;
  readonly past: ServingCache<string>;
  readonly present: ServingCache<string>;
}

/** The cache of a model, block after block; layers without attention have none. */
export const cachePorts = ({ slots }: Architecture): readonly CachePort[] =>
  slots.flatMap(({ layer, block }) => {
    const shape = blockOf(block).servingCacheShape?.(block, 1, 1);
    if (shape === undefined) return [];
    const [, kvHeads, , headDim] = shape as [number, number, number, number];
    const names = (time: string): ServingCache<string> => ({
      keys: `${time}.${layer}.key`,
      values: `${time}.${layer}.value`,
    });
    return [{ layer, kvHeads, headDim, past: names('past_key_values'), present: names('present') }];
  });

/** The first slot that the fused kernels cannot serve, and why. */
export function refusesServing({
  stream,
  slots,
}: Architecture): { readonly slot: Slot; readonly reason: string } | undefined {
  for (const slot of slots) {
    const block = blockOf(slot.block);
    if (block.kvElementsPerToken(slot.block, stream) > 0 && block.serve === undefined)
      return { slot, reason: 'no fused kernel computes it' };
    const headDim = block.servingCacheShape?.(slot.block, 1, 1)[3] ?? 0;
    if (headDim % servingHeadMultiple !== 0)
      return { slot, reason: `the fused kernel takes head widths of a multiple of ${servingHeadMultiple}` };
  }
  return undefined;
}

/** Names of a model's weights as the graph's inputs: those of our own checkpoints. */
export const streamWeightName = (name: 'embedding' | 'norm' | 'head'): string => `stream.${name}`;
export const blockWeightName = (slot: number, name: string): string => `slots.${slot}.${name}`;
export const rotationName = (headDim: number, name: 'cos' | 'sin'): string => `rotation.${headDim}.${name}`;

/** The graph. Weights and rotation tables are inputs, by the names above; the export makes them initialisers. */
export function decoderGraph(
  architecture: Architecture,
  { dtype, contextLength, weights: format = 'f32' }: DecoderOptions,
): Graph {
  const { stream, slots } = architecture;
  const { hidden, vocabularySize, normEpsilon, tiedEmbeddings } = stream;
  const ports = new Map(cachePorts(architecture).map((port) => [port.layer, port]));
  const weight = (name: string, shape: Shape): Value => input(name, dtype, shape);
  return symbolicGraph(['batch', 'sequence', 'past', 'total', 'present', 'kept'], (lengths) => {
    const { batch, sequence: tokens } = lengths;
    const ids = input(portNames.tokens, 'int64', [batch, tokens]);
    const context = servingContext(stream, ids, lengths, (headDim, name) =>
      weight(rotationName(headDim, name), [contextLength, headDim / 2]),
    );
    const embedding = weight(streamWeightName('embedding'), [vocabularySize, hidden]);
    const presents: Record<string, Value> = {};
    let state: Residual = { x: gather(embedding, reshapeTo(ids, whole([-1]), [batch * tokens])) };
    for (const [index, { layer, block: config }] of slots.entries()) {
      const block = blockOf(config);
      if (block.output === undefined) continue;
      const weights: Weights<Value> = Object.fromEntries(
        Object.entries(block.weights(config, stream)).map(([name, shape]) => [
          name,
          weight(blockWeightName(index, name), shape),
        ]),
      );
      const { x, normed } = addAndNorm(state, weights.norm!, normEpsilon);
      const own = { ...context, config };
      let features: Value | undefined;
      const port = ports.get(layer);
      if (block.serve !== undefined && port !== undefined) {
        const cacheInput = (name: string): Value =>
          input(name, dtype, block.servingCacheShape!(config, batch, lengths.past));
        const past = { keys: cacheInput(port.past.keys), values: cacheInput(port.past.values) };
        const served = block.serve(normed, weights, past, own);
        presents[port.present.keys] = served.cache.keys;
        presents[port.present.values] = served.cache.values;
        features = served.features;
      } else features = block.features(normed, weights, own);
      // (rows, features) x (features, hidden) -> (rows, hidden)
      state = { x, delta: gemm(features!, weights[block.output]!, { transposeB: true }) };
    }
    const { normed } = addAndNorm(state, weight(streamWeightName('norm'), [hidden]), normEpsilon);
    const last = lastRows(normed, context, lengths.kept); // (batch * kept, hidden)
    const head = tiedEmbeddings ? embedding : weight(streamWeightName('head'), [vocabularySize, hidden]);
    const logits = cast(gemm(last, head, { transposeB: true }), 'float32');
    const sequences = concat([slice(context.rows, 0, 0, 1), whole([-1, vocabularySize])], 0);
    const outputs = {
      [portNames.logits]: reshapeTo(logits, sequences, [batch, lengths.kept, vocabularySize]),
      ...presents,
    };
    return replaceValues(outputs, (value) => quantisedProduct(value, format));
  });
}

type Lengths = Readonly<Record<'batch' | 'sequence' | 'total' | 'present', number>>;

function servingContext(
  stream: StreamConfig,
  ids: Value,
  { batch, sequence, total, present }: Lengths,
  table: (headDim: number, name: 'cos' | 'sin') => Value,
): Omit<ServingContext<BlockConfig>, 'config'> {
  const mask = input(portNames.mask, 'int64', [batch, total]);
  const counts = reduceSum(cast(mask, 'float32'), { axes: [1] }); // (batch)
  return {
    stream,
    batch,
    tokens: sequence,
    present,
    rows: fused('', 'Shape', [ids], {}, [{ dtype: 'int64', shape: [2] }]),
    last: cast(sub(counts, 1), 'int32'),
    total: cast(fused('', 'Shape', [mask], { start: 1, end: 2 }, [{ dtype: 'int64', shape: [1] }]), 'int32'),
    rotation: (headDim) => ({ cos: table(headDim, 'cos'), sin: table(headDim, 'sin') }),
  };
}

/** The stream (rows, hidden) as a sum that the next norm's kernel takes. */
interface Residual {
  readonly x: Value;
  readonly delta?: Value;
}

/** The stream and its norm, both (rows, hidden), in one kernel where something was added. */
function addAndNorm(
  { x, delta }: Residual,
  weight: Value,
  epsilon: number,
): { readonly x: Value; readonly normed: Value } {
  if (delta === undefined) return { x, normed: rmsNorm(x, weight, epsilon) };
  const type = { dtype: x.dtype, shape: x.shape };
  const both = fused(
    'com.microsoft',
    'SkipSimplifiedLayerNormalization',
    [x, delta, weight],
    { epsilon: { float: epsilon } },
    [type, undefined, undefined, type],
  );
  return { x: result(both, 3), normed: result(both, 0) };
}

/** Rows of the last tokens of each sequence, as many as the run asks for: (rows, hidden) -> (batch * kept, hidden). */
function lastRows(
  x: Value,
  { rows, batch, tokens }: Pick<ServingContext<BlockConfig>, 'rows' | 'batch' | 'tokens'>,
  kept: number,
): Value {
  const hidden = x.shape[1]!;
  const count = reshape(input(portNames.kept, 'int64', []), [1]);
  const start = sub(constant(0, 'int64'), count); // from the end; 0 is the start
  const bounds = [start, whole([Number.MAX_SAFE_INTEGER]), whole([1])];
  const last = fused('', 'Slice', [withRows(x, rows, [batch, tokens]), ...bounds], {}, [
    { dtype: x.dtype, shape: [batch, kept, hidden] },
  ]);
  return flattened(last, [batch * kept, hidden]);
}
