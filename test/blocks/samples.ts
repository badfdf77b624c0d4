/** Random configs of every registered block, with a teacher each can be made from. */
import * as fc from 'fast-check';
import { blockOf } from '../../src/blocks/index.ts';
import type { Weights } from '../../src/blocks/index.ts';
import type { BlockConfig, SlotKind, StreamConfig } from '../../src/model/architecture.ts';
import { elementCount, float32 } from '../../src/tensor/tensor.ts';
import type { Tensor } from '../../src/tensor/tensor.ts';
import { seededRandom } from '../../src/util/random.ts';

export interface Sample {
  readonly slot: SlotKind;
  readonly config: BlockConfig;
  readonly teacher: BlockConfig;
  readonly stream: StreamConfig;
  readonly batch: number;
  readonly tokens: number;
  readonly seed: number;
}

const stream = fc.record({
  hidden: fc.integer({ min: 1, max: 6 }).map((n) => 4 * n),
  scaled: fc.boolean(),
  ropeTheta: fc.constantFrom(100, 10_000),
});

const gqaTeacher = fc
  .record({
    kvHeads: fc.integer({ min: 1, max: 4 }),
    group: fc.integer({ min: 1, max: 3 }),
    headDim: fc.integer({ min: 2, max: 4 }).map((n) => 2 * n),
    qkvBias: fc.boolean(),
    qkNorm: fc.boolean(),
    window: fc.option(fc.integer({ min: 1, max: 8 })),
  })
  .map(({ kvHeads, group, headDim, qkvBias, qkNorm, window }) => ({
    kind: 'gqa',
    heads: kvHeads * group,
    kvHeads,
    headDim,
    ...(qkvBias && { qkvBias }),
    ...(qkNorm && { qkNorm }),
    ...(window !== null && { window }),
  }));

const swigluTeacher = fc.integer({ min: 2, max: 12 }).map((width) => ({ kind: 'swiglu', width }));

type Pair = Pick<Sample, 'slot' | 'config' | 'teacher'>;

const divisors = (n: number): number[] =>
  Array.from({ length: n }, (_, i) => i + 1).filter((count) => n % count === 0);

/** Keyed by kind; the laws demand a line for every registered block. */
export const pairs: Readonly<Record<string, fc.Arbitrary<Pair>>> = {
  gqa: gqaTeacher.chain((teacher) =>
    fc
      .oneof(
        fc.constantFrom(...divisors(teacher.kvHeads)).map((kvHeads) => ({ kvHeads })), // merged
        fc
          .record({
            kvHeads: fc.integer({ min: 1, max: teacher.kvHeads }),
            perGroup: fc.integer({ min: 1, max: teacher.heads / teacher.kvHeads }),
          })
          .map(({ kvHeads, perGroup }) => ({ kvHeads, heads: kvHeads * perGroup })), // dropped
      )
      .map((counts) => ({ slot: 'attention', teacher, config: { ...teacher, ...counts } })),
  ),
  swiglu: swigluTeacher.chain((teacher) =>
    fc.integer({ min: 1, max: teacher.width }).map((width) => ({
      slot: 'ffn',
      teacher,
      config: { kind: 'swiglu', width },
    })),
  ),
  linear: replacement({ kind: 'linear' }),
  'low-rank': fc.integer({ min: 1, max: 4 }).chain((rank) => replacement({ kind: 'low-rank', rank })),
  'no-op': replacement({ kind: 'no-op' }),
};

function replacement(config: BlockConfig): fc.Arbitrary<Pair> {
  return fc.oneof(
    gqaTeacher.map((teacher): Pair => ({ slot: 'attention', teacher, config })),
    swigluTeacher.map((teacher): Pair => ({ slot: 'ffn', teacher, config })),
  );
}

export const sampleOf = (kind: string): fc.Arbitrary<Sample> =>
  fc
    .record({
      pair: pairs[kind]!,
      stream,
      batch: fc.integer({ min: 1, max: 3 }),
      tokens: fc.integer({ min: 1, max: 12 }),
      seed: fc.nat(),
    })
    .map(({ pair, stream: { hidden, scaled, ropeTheta }, ...rest }) => ({
      ...pair,
      ...rest,
      stream: {
        family: 'llama',
        vocabularySize: 16,
        hidden,
        normEpsilon: 1e-5,
        ropeTheta,
        ...(scaled && {
          ropeScaling: {
            factor: 8,
            lowFrequencyFactor: 1,
            highFrequencyFactor: 4,
            originalContextLength: 16,
          },
        }),
        tiedEmbeddings: true,
        contextLength: 64,
      },
    }));

/** Normal entries, scaled so that a product keeps its input's size; norms around 1. */
export function randomWeights(
  config: BlockConfig,
  streamConfig: StreamConfig,
  seed: number,
): Weights<Tensor<'float32'>> {
  const random = seededRandom(seed);
  const shapes = blockOf(config).weights(config, streamConfig);
  return Object.fromEntries(
    Object.entries(shapes).map(([name, shape]) => {
      const [offset, scale] = shape.length === 1 ? [1, 0.2] : [0, 1 / Math.sqrt(shape[1]!)];
      const data = Float32Array.from({ length: elementCount(shape) }, () => offset + scale * random.normal());
      return [name, float32(data, shape)];
    }),
  );
}

export function randomStream({ batch, tokens, stream: { hidden }, seed }: Sample): Tensor<'float32'> {
  const random = seededRandom(seed ^ 0x5eed);
  const data = Float32Array.from({ length: batch * tokens * hidden }, () => random.normal());
  return float32(data, [batch * tokens, hidden]);
}
