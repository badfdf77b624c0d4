/** What the paper's initialisations mean (arXiv 2411.19146, sec. 3), beyond the laws that all blocks share. */
import { afterAll, beforeAll, expect, test } from 'vitest';
import { blockForward, blockOf } from '../../src/blocks/index.ts';
import type { Weights } from '../../src/blocks/index.ts';
import { graph, input } from '../../src/graph/index.ts';
import type { BlockConfig } from '../../src/model/architecture.ts';
import { openRuntime } from '../../src/runtime/index.ts';
import type { Runtime } from '../../src/runtime/index.ts';
import { float32 } from '../../src/tensor/tensor.ts';
import type { Tensor } from '../../src/tensor/tensor.ts';
import { uniformArchitecture } from './architectures.ts';
import { referenceDelta } from './reference.ts';
import { randomStream, randomWeights, type Sample } from './samples.ts';

let runtime: Runtime;
beforeAll(async () => {
  runtime = await openRuntime({ device: 'cpu', threads: 1 });
});
afterAll(async () => runtime.close());

const attention = { kind: 'gqa', heads: 6, kvHeads: 3, headDim: 4 } as const;
const ffn = { kind: 'swiglu', width: 8 } as const;
const { stream } = uniformArchitecture({ layers: 1, hidden: 12, attention, ffn });
const sample = (config: BlockConfig, tokens: number, batch = 1): Sample => ({
  slot: 'attention',
  config,
  teacher: config,
  stream,
  batch,
  tokens,
  seed: 7,
});

async function delta(
  { config, batch, tokens }: Sample,
  weights: Weights<Tensor>,
  x: Tensor,
): Promise<number[]> {
  const values = Object.fromEntries(
    Object.entries(weights).map(([name, { shape }]) => [name, input(name, 'float32', shape)]),
  );
  const out = blockForward(input('x', 'float32', x.shape), values, { config, stream, batch, tokens });
  const result = await runtime.run(graph({ delta: out.delta! }), { x, ...weights });
  return Array.from(result.delta!.data, Number);
}

const distance = (a: readonly number[], b: readonly number[]): number =>
  a.reduce((most, value, i) => Math.max(most, Math.abs(value - b[i]!)), a.length === b.length ? 0 : Infinity);

test('linear in place of attention is attention of a token that sees only itself', async () => {
  const weights = randomWeights(attention, stream, 1);
  const alone = { ...attention, window: 1 };
  const made = blockOf({ kind: 'linear' }).initialise(
    { kind: 'linear' },
    { config: attention, weights },
    stream,
  );
  const x = randomStream(sample(attention, 5));
  expect(
    distance(await delta(sample({ kind: 'linear' }, 5), made, x), await delta(sample(alone, 5), weights, x)),
  ).toBeLessThan(1e-5);
});

test('linear in place of an FFN is W_down . W_up', () => {
  const weights = {
    norm: float32(Float32Array.of(1, 2), [2]),
    gate: float32(new Float32Array(6), [3, 2]),
    up: float32(Float32Array.of(1, 2, 3, 4, 5, 6), [3, 2]),
    down: float32(Float32Array.of(1, 0, 2, 0, 1, -1), [2, 3]),
  };
  const made = blockOf({ kind: 'linear' }).initialise(
    { kind: 'linear' },
    { config: { kind: 'swiglu', width: 3 }, weights },
    { ...stream, hidden: 2 },
  );
  expect(Array.from(made.linear!.data)).toEqual([1 + 10, 2 + 12, 3 - 5, 4 - 6]);
});

test('merged KV heads are their mean: nothing is lost where they were equal', async () => {
  const weights = randomWeights(attention, stream, 2);
  const equal = (x: Tensor<'float32'>): Tensor<'float32'> => {
    const data = x.data.slice();
    for (let group = 1; group < 3; group++) data.copyWithin(group * 4 * 12, 0, 4 * 12);
    return float32(data, x.shape);
  };
  const teacher = { ...weights, k: equal(weights.k!), v: equal(weights.v!) };
  const merged = { ...attention, kvHeads: 1 };
  const made = blockOf(merged).initialise(merged, { config: attention, weights: teacher }, stream);
  const x = randomStream(sample(attention, 6, 2));
  expect(
    distance(await delta(sample(merged, 6, 2), made, x), await delta(sample(attention, 6, 2), teacher, x)),
  ).toBeLessThan(1e-5);
  const unequal = blockOf(merged).initialise(merged, { config: attention, weights }, stream);
  const mean = (i: number): number => [0, 1, 2].reduce((sum, g) => sum + weights.k!.data[g * 48 + i]!, 0) / 3;
  expect(
    distance(
      Array.from(unequal.k!.data),
      Array.from({ length: 48 }, (_, i) => mean(i)),
    ),
  ).toBeLessThan(1e-5);
});

test('a narrower FFN keeps the channels of the largest mean |h_i| * ||W_down[:, i]||, in their order', () => {
  const weights = randomWeights(ffn, stream, 3);
  for (let row = 0; row < 12; row++)
    for (let i = 0; i < 8; i++) weights.down!.data[row * 8 + i] = row === 0 ? i + 1 : 0;
  // contributions: 8, 2, 12, 4, 5, 30, 0, 8.8
  const meanAbsFeature = Float32Array.of(8, 1, 4, 1, 1, 5, 0, 1.1);
  const narrow = { kind: 'swiglu', width: 3 };
  const made = blockOf(narrow).initialise(narrow, { config: ffn, weights, meanAbsFeature }, stream);
  expect(Array.from(made.down!.data.slice(0, 3))).toEqual([3, 6, 8]); // channels 2, 5, 7
  expect(Array.from(made.up!.data)).toEqual(
    [2, 5, 7].flatMap((i) => Array.from(weights.up!.data.slice(i * 12, i * 12 + 12))),
  );
  expect(() => blockOf(narrow).initialise(narrow, { config: ffn, weights }, stream)).toThrow(RangeError);
});

test('fewer heads: the groups and heads of the largest contribution stay, and nothing else changes', async () => {
  const weights = randomWeights(attention, stream, 8);
  // Heads 0..5 in groups of two; their contributions, all of it in row 0 of W_O.
  const strength = [1, 9, 5, 2, 3, 4];
  weights.o!.data.fill(0);
  strength.forEach((value, head) => (weights.o!.data[head * 4] = value));
  const meanAbsFeature = new Float32Array(24).fill(1);
  const fewer = { ...attention, heads: 2, kvHeads: 2 };
  const made = blockOf(fewer).initialise(fewer, { config: attention, weights, meanAbsFeature }, stream);
  const kept = [1, 2]; // head 1 of group 0, head 2 of group 1
  expect(Array.from(made.o!.data.filter((value) => value !== 0))).toEqual([9, 5]);
  expect(Array.from(made.q!.data)).toEqual(
    kept.flatMap((h) => Array.from(weights.q!.data.slice(h * 48, h * 48 + 48))),
  );
  expect(Array.from(made.v!.data)).toEqual(Array.from(weights.v!.data.slice(0, 96)));
  // The teacher with the other heads' columns of W_O cleared computes the same.
  const cleared = float32(
    weights.o!.data.map((value, i) => (kept.includes(Math.floor((i % 24) / 4)) ? value : 0)),
    weights.o!.shape,
  );
  const x = randomStream(sample(attention, 6, 2));
  expect(
    distance(
      await delta(sample(fewer, 6, 2), made, x),
      await delta(sample(attention, 6, 2), { ...weights, o: cleared }, x),
    ),
  ).toBeLessThan(1e-6);
});

test('a low-rank map starts as the best approximation of the linear one', () => {
  const weights = randomWeights(attention, stream, 9);
  const teacher = { config: attention, weights };
  const made = (rank: number): Weights<Tensor<'float32'>> =>
    blockOf({ kind: 'low-rank' }).initialise({ kind: 'low-rank', rank }, teacher, stream);
  const whole = blockOf({ kind: 'linear' }).initialise({ kind: 'linear' }, teacher, stream).linear!;
  const errors = [1, 4, 8, 12].map((rank) => {
    const { expand, reduce } = made(rank);
    let error = 0;
    for (let i = 0; i < 12; i++)
      for (let j = 0; j < 12; j++) {
        let value = 0;
        for (let r = 0; r < rank; r++) value += expand!.data[i * rank + r]! * reduce!.data[r * 12 + j]!;
        error += (value - whole.data[i * 12 + j]!) ** 2;
      }
    return error;
  });
  for (let i = 1; i < errors.length; i++) expect(errors[i]).toBeLessThan(errors[i - 1]!);
  expect(errors.at(-1)).toBeLessThan(1e-10);
});

test.each([undefined, 40, 200])(
  'attention over runs of queries, window %s, agrees with the naive form',
  async (window) => {
    const config = { kind: 'gqa', heads: 2, kvHeads: 1, headDim: 4, ...(window !== undefined && { window }) };
    const weights = randomWeights(config, stream, 4);
    const long = sample(config, 290); // more than two runs
    const x = randomStream(long);
    expect(distance(await delta(long, weights, x), referenceDelta(long, weights, x).flat())).toBeLessThan(
      2e-5,
    );
  },
);

test('what a teacher does not have cannot be kept', () => {
  expect(blockOf(ffn).refuses({ kind: 'swiglu', width: 9 }, ffn, stream)).toMatch(/only 8 wide/);
  expect(blockOf(attention).refuses({ ...attention, kvHeads: 2 }, attention, stream)).toMatch(
    /do not divide/,
  );
  expect(blockOf(attention).refuses({ ...attention, headDim: 8 }, attention, stream)).toMatch(
    /headDim differs/,
  );
  for (const [heads, kvHeads] of [
    [8, 2],
    [5, 1],
    [3, 6],
  ] as const)
    expect(blockOf(attention).refuses({ ...attention, heads, kvHeads }, attention, stream)).toMatch(
      /no part of/,
    );
  expect(blockOf({ kind: 'low-rank' }).refuses({ kind: 'low-rank', rank: 13 }, ffn, stream)).toMatch(
    /above 12/,
  );
  expect(blockOf({ kind: 'linear' }).refuses({ kind: 'linear' }, { kind: 'no-op' }, stream)).toMatch(
    /no matrices/,
  );
});
