/** A small random model in memory, with every kind of block, and its forward written naively in double precision. */
import type { Execution, WeightSource } from '../../src/execution/index.ts';
import { openExecution } from '../../src/execution/index.ts';
import { blockOf, sameBlock } from '../../src/blocks/index.ts';
import type { BlockWeights } from '../../src/library/index.ts';
import type { Architecture, BlockConfig } from '../../src/model/architecture.ts';
import type { Runtime } from '../../src/runtime/index.ts';
import { float32 } from '../../src/tensor/tensor.ts';
import type { Tensor } from '../../src/tensor/tensor.ts';
import { seededRandom } from '../../src/util/random.ts';
import { uniformArchitecture } from '../blocks/architectures.ts';
import { referenceDelta } from '../blocks/reference.ts';
import { randomWeights } from '../blocks/samples.ts';

const uniform = uniformArchitecture({
  layers: 4,
  hidden: 16,
  vocabularySize: 50,
  attention: { kind: 'gqa', heads: 4, kvHeads: 2, headDim: 4 },
  ffn: { kind: 'swiglu', width: 24 },
});

/** Layer 1 attends linearly, layer 2 has no attention, layer 3 a linear FFN. */
export const mixed: Architecture = {
  ...uniform,
  slots: uniform.slots.map((slot, index) => {
    const kind = { 2: 'linear', 4: 'no-op', 7: 'linear' }[index];
    return kind === undefined ? slot : { ...slot, block: { kind } };
  }),
};

export function randomSource(architecture: Architecture, seed: number): WeightSource {
  const { vocabularySize, hidden } = architecture.stream;
  const normal = (shape: readonly number[], offset: number, key: number): Tensor<'float32'> => {
    const random = seededRandom(seed * 31 + key);
    const data = Float32Array.from(
      { length: shape.reduce((a, b) => a * b, 1) },
      () => offset + random.normal(),
    );
    return float32(data, shape);
  };
  return {
    architecture,
    streamWeight: async (name) =>
      name === 'norm' ? normal([hidden], 1, 1) : normal([vocabularySize, hidden], 0, name === 'head' ? 2 : 3),
    blockWeights: async (slot) =>
      randomWeights(architecture.slots[slot]!.block, architecture.stream, seed * 31 + 10 + slot),
  };
}

/** The model with these blocks: the source's own where they are equal, all else from a library. */
export const withChosen = (
  source: WeightSource,
  chosen: readonly BlockConfig[],
  library: BlockWeights,
): WeightSource => {
  const { slots } = source.architecture;
  return {
    ...source,
    architecture: {
      ...source.architecture,
      slots: slots.map((slot, at) => ({ ...slot, block: chosen[at]! })),
    },
    async blockWeights(slot) {
      const config = chosen[slot]!;
      if (sameBlock(config, slots[slot]!.block)) return source.blockWeights(slot);
      return blockOf(config).output === undefined ? {} : library(slot, config);
    },
  };
};

export const open = async (architecture: Architecture, seed: number, runtime: Runtime): Promise<Execution> =>
  openExecution(randomSource(architecture, seed), runtime);

/** Log-probabilities (tokens, vocabulary) of what follows each token of one sequence, and the stream before them. */
export async function referenceForward(
  source: WeightSource,
  tokens: readonly number[],
): Promise<{ readonly stream: number[][]; readonly logProbabilities: number[][] }> {
  const { stream, slots } = source.architecture;
  const table = await source.streamWeight('embedding');
  const head = stream.tiedEmbeddings ? table : await source.streamWeight('head');
  const norm = await source.streamWeight('norm');
  const row = ({ data }: Tensor, index: number): number[] =>
    Array.from(data.slice(index * stream.hidden, (index + 1) * stream.hidden), Number);
  let state = tokens.map((token) => row(table, token));
  for (const [slot, { kind, block }] of slots.entries()) {
    const x = float32(Float32Array.from(state.flat()), [tokens.length, stream.hidden]);
    const sample = {
      slot: kind,
      config: block,
      teacher: block,
      stream,
      batch: 1,
      tokens: tokens.length,
      seed: 0,
    };
    const delta = referenceDelta(sample, await source.blockWeights(slot), x);
    state = state.map((values, t) => values.map((value, i) => value + delta[t]![i]!));
  }
  const logProbabilities = state.map((values) => {
    const scale =
      1 / Math.sqrt(values.reduce((sum, v) => sum + v * v, 0) / stream.hidden + stream.normEpsilon);
    const normed = values.map((v, i) => v * scale * norm.data[i]!);
    const logits = Array.from({ length: stream.vocabularySize }, (_, v) =>
      row(head, v).reduce((sum, e, i) => sum + e * normed[i]!, 0),
    );
    const most = Math.max(...logits);
    const logSumExp = most + Math.log(logits.reduce((sum, z) => sum + Math.exp(z - most), 0));
    return logits.map((z) => z - logSumExp);
  });
  return { stream: state, logProbabilities };
}
