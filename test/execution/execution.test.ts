import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import {
  closeExecution,
  embed,
  forward,
  judge,
  nextTokenLogProbabilities,
  openExecution,
  placeBlock,
  predict,
  releaseBlock,
  releasePrediction,
  runBlock,
  withBlocks,
  type Execution,
} from '../../src/execution/index.ts';
import type { Architecture } from '../../src/model/architecture.ts';
import { openRuntime, type Resident, type Runtime } from '../../src/runtime/index.ts';
import { seededRandom } from '../../src/util/random.ts';
import { mixed, open, randomSource, referenceForward } from './small-model.ts';

let runtime: Runtime;
beforeAll(async () => {
  runtime = await openRuntime({ device: 'cpu', threads: 1 });
});
afterAll(async () => runtime.close());

// every test releases what it made: a leak in the code under test shows here
afterEach(() => {
  if (runtime.residents > 0) throw new Error(`${runtime.residents} residents were never released`);
});

const windows = { batch: 3, tokens: 11 };
const random = seededRandom(5);
const tokens = Int32Array.from({ length: windows.batch * windows.tokens }, () =>
  random.integer(mixed.stream.vocabularySize),
);
const targets = tokens.map((_, i) => tokens[(i + 1) % tokens.length]!);
const untied: Architecture = { ...mixed, stream: { ...mixed.stream, tiedEmbeddings: false } };

/** Per row of all windows: log-probabilities of the naive forward. */
async function reference(architecture: Architecture, seed: number): Promise<number[][]> {
  const source = randomSource(architecture, seed);
  const rows = await Promise.all(
    Array.from({ length: windows.batch }, async (_, b) => {
      const window = tokens.slice(b * windows.tokens, (b + 1) * windows.tokens);
      return (await referenceForward(source, Array.from(window))).logProbabilities;
    }),
  );
  return rows.flat();
}

async function lastStream(model: Execution): Promise<Resident> {
  const x = await embed(model, tokens, windows);
  const last = await forward(model, x, windows);
  await runtime.release(x);
  return last;
}

const likeliest = (row: readonly number[]): number => row.indexOf(Math.max(...row));

const values = async (resident: Resident): Promise<number[]> =>
  Array.from((await runtime.download(resident)).data, Number);

const distance = (a: ArrayLike<number>, b: ArrayLike<number>): number =>
  Array.from(a).reduce(
    (most, value, i) => Math.max(most, Math.abs(value - b[i]!)),
    a.length === b.length ? 0 : Infinity,
  );

describe.each([
  ['tied', mixed],
  ['untied', untied],
])('%s head', (_, architecture) => {
  test('log-probabilities of targets and of all tokens are those of the naive forward', async () => {
    const model = await open(architecture, 1, runtime);
    const last = await lastStream(model);
    const expected = await reference(architecture, 1);
    const { logProbability } = await judge(model, last, targets);
    expect(
      distance(
        logProbability,
        expected.map((row, i) => row[targets[i]!]!),
      ),
    ).toBeLessThan(1e-4);
    expect(distance(await nextTokenLogProbabilities(model, last, 17), expected[17]!)).toBeLessThan(1e-4);
    await runtime.release(last);
    await closeExecution(model);
  });

  test('KL and agreement with a teacher that has other weights and another head', async () => {
    const [teacher, student] = [await open(architecture, 1, runtime), await open(architecture, 2, runtime)];
    const [p, q] = [await reference(architecture, 1), await reference(architecture, 2)];
    const [teacherLast, studentLast] = [await lastStream(teacher), await lastStream(student)];
    const prediction = await predict(teacher, teacherLast, student.stream.head);
    const { kl, agreement } = await judge(student, studentLast, targets, prediction);
    const divergence = p.map((row, i) =>
      row.reduce((sum, logP, v) => sum + Math.exp(logP) * (logP - q[i]![v]!), 0),
    );
    expect(distance(kl!, divergence)).toBeLessThan(1e-4);
    expect(Array.from(agreement!)).toEqual(p.map((row, i) => Number(likeliest(row) === likeliest(q[i]!))));

    // a model against itself: nothing lost, always agreed
    const own = await predict(teacher, teacherLast);
    const same = await judge(teacher, teacherLast, targets, own);
    expect(
      distance(
        same.kl!,
        Array.from(same.kl!, () => 0),
      ),
    ).toBeLessThan(1e-5);
    expect(Array.from(same.agreement!)).toEqual(Array.from(tokens, () => 1));
    await releasePrediction(teacher, prediction);
    await releasePrediction(teacher, own);
    await runtime.release(teacherLast, studentLast);
    await closeExecution(teacher);
    await closeExecution(student);
  });
});

test('a block run yields what its name says', async () => {
  const model = await open(mixed, 3, runtime);
  const x = await embed(model, tokens, windows);
  const before = await values(x);
  for (const slot of [0, 1, 2]) {
    const out = await runBlock(model, model.blocks[slot]!, x, windows, [
      'stream',
      'delta',
      'normed',
      'features',
    ]);
    const [stream, delta, normed] = [
      await values(out.stream),
      await values(out.delta),
      await values(out.normed),
    ];
    expect(
      distance(
        stream,
        before.map((value, i) => value + delta[i]!),
      ),
    ).toBeLessThan(1e-5);
    const norm = await values(model.blocks[slot]!.weights.norm!);
    const row = before.slice(0, norm.length);
    const scale = Math.sqrt(row.reduce((sum, v) => sum + v * v, 0) / row.length + 1e-5);
    expect(
      distance(
        normed.slice(0, norm.length),
        row.map((v, i) => (v / scale) * norm[i]!),
      ),
    ).toBeLessThan(1e-5);
    expect(out.features.shape).toEqual([33, [16, 24, 16][slot]]);
    await runtime.release(...Object.values(out));
  }
  const nothing = await runBlock(model, model.blocks[4]!, x, windows, ['stream', 'delta']);
  expect(await values(nothing.stream)).toEqual(before);
  expect(
    distance(
      await values(nothing.delta),
      before.map(() => 0),
    ),
  ).toBe(0);
  await expect(runBlock(model, model.blocks[4]!, x, windows, ['features'])).rejects.toThrow(
    /no-op block has no features/,
  );
  await runtime.release(x, nothing.stream, nothing.delta);
  await closeExecution(model);
});

test('a student shares what it does not replace, and a suffix from a kept stream is the whole forward', async () => {
  const teacher = await open(mixed, 1, runtime);
  const source = randomSource(mixed, 9);
  const config = mixed.slots[5]!.block;
  const block = await placeBlock(teacher, config, await source.blockWeights(5));
  const gone = await placeBlock(teacher, { kind: 'no-op' }, {});
  const student = withBlocks(
    teacher,
    new Map([
      [5, block],
      [6, gone],
    ]),
  );
  expect(student.architecture.slots.map((slot) => slot.block.kind)[6]).toBe('no-op');
  expect(student.blocks[0]).toBe(teacher.blocks[0]);

  const x = await embed(teacher, tokens, windows);
  const kept = await forward(teacher, x, windows, { to: 5 });
  const suffix = await forward(student, kept, windows, { from: 5 });
  const whole = await forward(student, x, windows);
  expect(await values(suffix)).toEqual(await values(whole));

  const own = randomSource(mixed, 1);
  const naive = await referenceForward(
    {
      ...own,
      architecture: student.architecture,
      blockWeights: async (slot) => (slot === 5 ? source : own).blockWeights(slot),
    },
    Array.from(tokens.slice(0, windows.tokens)),
  );
  expect(distance((await values(whole)).slice(0, windows.tokens * 16), naive.stream.flat())).toBeLessThan(
    1e-4,
  );

  await releaseBlock(teacher, block);
  await runtime.release(x, kept, suffix, whole);
  await closeExecution(teacher);
});

test('weights of another shape than the block states are refused', async () => {
  const model = await open(mixed, 1, runtime);
  const wrong = await randomSource(mixed, 1).blockWeights(0);
  await expect(placeBlock(model, { kind: 'swiglu', width: 24 }, wrong)).rejects.toThrow(/swiglu block needs/);
  await closeExecution(model);
});

test('a source that fails leaves nothing behind', async () => {
  const source = randomSource(mixed, 1);
  const broken = {
    ...source,
    blockWeights: async (slot: number) => {
      if (slot === 3) throw new Error('truncated');
      return source.blockWeights(slot);
    },
  };
  await expect(openExecution(broken, runtime)).rejects.toThrow('truncated');
});
