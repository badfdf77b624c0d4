import { afterAll, afterEach, beforeAll, expect, test } from 'vitest';
import { closeExecution, openExecution, type Execution } from '../../src/execution/index.ts';
import type { BlockConfig, TokenWindows } from '../../src/model/index.ts';
import type { Weights } from '../../src/blocks/index.ts';
import { openRuntime, type Runtime } from '../../src/runtime/index.ts';
import { onePass, quadraticDamage, scoreReplacements, type SlotProjections } from '../../src/score/index.ts';
import { float32, type Tensor } from '../../src/tensor/tensor.ts';
import { seededRandom } from '../../src/util/random.ts';
import { uniformArchitecture } from '../blocks/architectures.ts';
import { randomSource } from '../execution/small-model.ts';

const width = 24;
const architecture = uniformArchitecture({
  layers: 3,
  hidden: 16,
  vocabularySize: 50,
  attention: { kind: 'gqa', heads: 4, kvHeads: 2, headDim: 4 },
  ffn: { kind: 'swiglu', width },
});
const source = randomSource(architecture, 3);
const window = 32;
const count = 70; // 64 windows a pass: two passes
const random = seededRandom(8);
const text: TokenWindows = {
  window,
  count,
  ids: Int32Array.from({ length: window * count }, () => random.integer(50)),
};

/** The teacher's FFN with one more channel, as strong as `strength`: a change as small as one likes. */
async function widened(slot: number, strength: number): Promise<Weights<Tensor<'float32'>>> {
  const own = await source.blockWeights(slot);
  const channel = seededRandom(50 + slot);
  const row = (scale: number): number[] => Array.from({ length: 16 }, () => scale * channel.normal());
  const appendRow = ({ data }: Tensor<'float32'>): Tensor<'float32'> =>
    float32(Float32Array.from([...data, ...row(1)]), [width + 1, 16]);
  const extra = row(strength);
  return {
    norm: own['norm']!,
    gate: appendRow(own['gate']!),
    up: appendRow(own['up']!),
    down: float32(
      Float32Array.from(
        extra.flatMap((value, i) => [...own['down']!.data.subarray(i * width, (i + 1) * width), value]),
      ),
      [16, width + 1],
    ),
  };
}

const wider: BlockConfig = { kind: 'swiglu', width: width + 1 };
const alternatives = architecture.slots.map(({ kind, block }) => [
  block,
  { kind: 'no-op' },
  ...(kind === 'ffn' ? [wider] : []),
]);

let runtime: Runtime;
let teacher: Execution;
let held = 0;
beforeAll(async () => {
  runtime = await openRuntime({ device: 'cpu', threads: 1 });
  teacher = await openExecution(source, runtime);
  held = runtime.residents;
});
afterAll(async () => {
  await closeExecution(teacher);
  await runtime.close();
});
afterEach(() => {
  // A leak in the code under test shows here.
  expect(runtime.residents).toBe(held);
});

async function project(seed: number, strength: number, finished?: ReadonlySet<number>) {
  const slots: SlotProjections[] = [];
  const weights = (slot: number) => widened(slot, strength);
  for await (const slot of onePass({
    teacher,
    alternatives,
    weights,
    text,
    seed,
    ...(finished && { finished }),
  }))
    slots.push(slot);
  return slots;
}

const mean = (values: ArrayLike<number>): number =>
  Array.from(values).reduce((sum, value) => sum + value, 0) / values.length;

/** Of a whole window: (sum_t g_t . delta_t)^2 / 2, unbiased even where later positions see earlier ones. */
const jointDamage = (projection: Float32Array): number =>
  mean(
    Array.from({ length: count }, (_, w) => {
      const sum = projection.subarray(w * window, (w + 1) * window).reduce((a, b) => a + b, 0);
      return sum ** 2 / 2 / window;
    }),
  );

test('as a change shrinks, the mean over draws tends to the measured KL', async () => {
  const strength = 0.005;
  const truth = new Map<number, number>();
  const all = { teacher, alternatives, weights: (slot: number) => widened(slot, strength), text };
  for await (const { slot, scores } of scoreReplacements(all))
    if (scores[2]) truth.set(slot, mean(scores[2].kl));
  const apart: number[] = [];
  const joint: number[] = [];
  for (let seed = 0; seed < 60; seed++)
    for (const { slot, projections } of await project(seed, strength)) {
      if (slot === 5) apart.push(mean(quadraticDamage(projections[2]!, window)));
      if (slot === 1) joint.push(jointDamage(projections[2]!));
    }
  // No position sees another after the last slot, so positions apart are exact there.
  expect(mean(apart) / truth.get(5)!).toBeGreaterThan(0.94);
  expect(mean(apart) / truth.get(5)!).toBeLessThan(1.06);
  // 60 x 70 windows of heavy-tailed draws: about 3 % standard error.
  expect(mean(joint) / truth.get(1)!).toBeGreaterThan(0.88);
  expect(mean(joint) / truth.get(1)!).toBeLessThan(1.12);
});

test('goes from the last slot to the first, knows the teacher, and takes a no-op as minus its output', async () => {
  const slots = await project(1, 1);
  expect(slots.map(({ slot }) => slot)).toEqual([5, 4, 3, 2, 1, 0]);
  for (const { projections } of slots) {
    expect(projections[0]).toEqual(new Float32Array(window * count));
    expect(projections[1]!.some((value) => value !== 0)).toBe(true);
    for (const projection of projections) expect(projection.every(Number.isFinite)).toBe(true);
  }
});

test('a slot comes out the same whichever others are finished', async () => {
  const all = new Map((await project(2, 1)).map((slot) => [slot.slot, slot]));
  const rest = await project(2, 1, new Set([0, 3, 5]));
  expect(rest.map(({ slot }) => slot)).toEqual([4, 2, 1]);
  for (const slot of rest) expect(slot).toEqual(all.get(slot.slot));
});

test('a projection of blocks together predicts the damage of both', () => {
  const a = Float32Array.of(1, 2, 0, 0);
  const b = Float32Array.of(-1, 2, 0, 4);
  expect(quadraticDamage(a, 2)).toEqual([1.25, 0]);
  expect(
    quadraticDamage(
      a.map((value, i) => value + b[i]!),
      2,
    ),
  ).toEqual([4, 4]);
});
