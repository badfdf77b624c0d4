import { afterAll, beforeAll, expect, test } from 'vitest';
import { matrix } from '../../src/algebra/index.ts';
import { blockOf } from '../../src/blocks/index.ts';
import {
  closeExecution,
  openExecution,
  placeBlock,
  releaseBlock,
  withBlocks,
  type Execution,
  type PlacedBlock,
} from '../../src/execution/index.ts';
import { defaultRefitOptions, refitStudent } from '../../src/library/index.ts';
import { pulledLeastSquares } from '../../src/library/refit.ts';
import type { TokenWindows } from '../../src/model/index.ts';
import { openRuntime, type Runtime } from '../../src/runtime/index.ts';
import { openReference, closeReference, damageOf } from '../../src/score/index.ts';
import { seededRandom } from '../../src/util/random.ts';
import { randomWeights } from '../blocks/samples.ts';
import { mixed, randomSource } from '../execution/small-model.ts';

const random = seededRandom(4);
const text: TokenWindows = {
  window: 32,
  count: 24,
  ids: Int32Array.from({ length: 32 * 24 }, () => random.integer(mixed.stream.vocabularySize)),
};
const options = { ...defaultRefitOptions, chunkTokens: 256 };

let runtime: Runtime;
let teacher: Execution;
let student: Execution;
const placed = new Map<number, PlacedBlock>();
beforeAll(async () => {
  runtime = await openRuntime({ device: 'cpu', threads: 1 });
  teacher = await openExecution(randomSource(mixed, 7), runtime);
  for (const [slot, config] of [
    [1, { kind: 'linear' }],
    [3, { kind: 'swiglu', width: 5 }],
    [6, { kind: 'no-op' }],
  ] as const)
    placed.set(slot, await placeBlock(teacher, config, randomWeights(config, mixed.stream, slot)));
  student = withBlocks(teacher, placed);
});
afterAll(async () => {
  for (const block of placed.values()) await releaseBlock(teacher, block);
  await closeExecution(teacher);
  await runtime.close();
});

test('the pulled fit is where the gradient of its own objective vanishes', () => {
  const sample = (n: number, m: number) =>
    matrix(
      n,
      m,
      Float64Array.from({ length: n * m }, () => random.normal()),
    );
  const [h, y, w0] = [sample(5, 40), sample(3, 40), sample(3, 5)];
  const gram = matrix(5, 5);
  const cross = matrix(3, 5);
  const at = (m: typeof h, i: number, j: number): number => m.data[i * m.columns + j]!;
  for (let t = 0; t < 40; t++)
    for (let j = 0; j < 5; j++) {
      for (let i = 0; i < 5; i++) gram.data[i * 5 + j]! += at(h, i, t) * at(h, j, t);
      for (let i = 0; i < 3; i++) cross.data[i * 5 + j]! += at(y, i, t) * at(h, j, t);
    }
  const w = pulledLeastSquares({ gram, cross }, w0, 0.2);
  const lambda = (0.2 * [0, 1, 2, 3, 4].reduce((sum, i) => sum + at(gram, i, i), 0)) / 5;
  for (let i = 0; i < 3; i++)
    for (let j = 0; j < 5; j++) {
      let gradient = lambda * (at(w, i, j) - at(w0, i, j)) - at(cross, i, j);
      for (let k = 0; k < 5; k++) gradient += at(w, i, k) * at(gram, k, j);
      expect(gradient).toBeCloseTo(0, 9);
    }
  // Silent features leave the weights as they are.
  expect(pulledLeastSquares({ gram: matrix(5, 5), cross: matrix(3, 5) }, w0, 0.2).data).toEqual(w0.data);
});

/** sum ||teacher - student||^2 of the streams after a slot. */
async function distanceAfter(model: Execution, slot: number, on = text): Promise<number> {
  const cut = (execution: Execution): Execution => ({
    ...execution,
    blocks: execution.blocks.slice(0, slot + 1),
  });
  const { embed, forward } = await import('../../src/execution/index.ts');
  const windows = { batch: on.count, tokens: on.window };
  const ends: Float32Array[] = [];
  for (const of of [cut(teacher), cut(model)]) {
    const first = await embed(of, on.ids.slice(), windows);
    const last = await forward(of, first, windows);
    ends.push((await runtime.download(last)).data as Float32Array);
    await runtime.release(...new Set([first, last]));
  }
  return ends[0]!.reduce((sum, value, i) => sum + (value - ends[1]![i]!) ** 2, 0);
}

test('each slot ends nearer to the teacher on the text it was fitted on, and so do the predictions', async () => {
  const held = runtime.residents;
  const refitted = new Map<number, PlacedBlock>(placed);
  const slots: number[] = [];
  for await (const { slot, weights } of refitStudent({ teacher, student, text, options })) {
    slots.push(slot);
    const before = await distanceAfter(withBlocks(teacher, refitted), slot);
    refitted.set(slot, await placeBlock(teacher, student.blocks[slot]!.config, structuredClone(weights)));
    const after = await distanceAfter(withBlocks(teacher, refitted), slot);
    expect(after).toBeLessThanOrEqual(before * (1 + 1e-5) + 1e-6);
  }
  expect(slots).toEqual(
    student.blocks.flatMap(({ config }, slot) => (blockOf(config).output === undefined ? [] : [slot])),
  );
  const reference = await openReference(teacher, text);
  const mean = (values: readonly number[]): number => values.reduce((sum, value) => sum + value, 0);
  const was = await damageOf(student, reference);
  const is = await damageOf(withBlocks(teacher, refitted), reference);
  expect(mean(is.kl)).toBeLessThan(mean(was.kl));
  await closeReference(teacher, reference);
  for (const [slot, block] of refitted) if (block !== placed.get(slot)) await releaseBlock(teacher, block);
  expect(runtime.residents).toBe(held);
});

test('going on after known slots ends the same', async () => {
  const whole = new Map<number, Awaited<ReturnType<typeof randomWeights>>>();
  for await (const { slot, weights } of refitStudent({ teacher, student, text, options }))
    whole.set(slot, weights);
  const rest: number[] = [];
  const known = async (slot: number) => (slot <= 3 ? whole.get(slot) : undefined);
  for await (const { slot, weights } of refitStudent({
    teacher,
    student,
    text,
    options,
    known,
  })) {
    rest.push(slot);
    expect(weights).toEqual(whole.get(slot));
  }
  expect(rest).toEqual([...whole.keys()].filter((slot) => slot > 3));
});
