import { afterAll, afterEach, beforeAll, expect, test } from 'vitest';
import { evaluate, evaluatePairs, parsePairs } from '../../src/evaluate/index.ts';
import { closeExecution } from '../../src/execution/index.ts';
import { openRuntime, type Runtime } from '../../src/runtime/index.ts';
import { meanInterval } from '../../src/util/interval.ts';
import { seededRandom } from '../../src/util/random.ts';
import { mixed, open, randomSource, referenceForward } from '../execution/small-model.ts';

let runtime: Runtime;
beforeAll(async () => {
  runtime = await openRuntime({ device: 'cpu', threads: 1 });
});
afterAll(async () => runtime.close());
afterEach(() => {
  if (runtime.residents > 0) throw new Error(`${runtime.residents} residents were never released`);
});

const random = seededRandom(3);
const ids = Int32Array.from({ length: 100 }, () => random.integer(mixed.stream.vocabularySize));

/** Per window of the naive forward: log-probabilities after each token but the last. */
const reference = async (seed: number, window: number, count: number): Promise<number[][][]> =>
  Promise.all(
    Array.from({ length: count }, async (_, w) => {
      const tokens = Array.from(ids.slice(w * window, (w + 1) * window));
      return (await referenceForward(randomSource(mixed, seed), tokens)).logProbabilities.slice(0, -1);
    }),
  );

const mean = (values: readonly number[]): number => values.reduce((a, b) => a + b, 0) / values.length;
const likeliest = (row: readonly number[]): number => row.indexOf(Math.max(...row));

test('perplexity, KL and agreement are those of the naive forward, over whole windows from the start', async () => {
  const [model, teacher] = [await open(mixed, 1, runtime), await open(mixed, 2, runtime)];
  const found = await evaluate(model, ids, { window: 15, tokens: 70, teacher });
  const [q, p] = [await reference(1, 15, 4), await reference(2, 15, 4)];
  const nll = meanInterval(q.map((rows, w) => mean(rows.map((row, t) => -row[ids[w * 15 + t + 1]!]!))));
  const kl = meanInterval(
    p.map((rows, w) =>
      mean(rows.map((row, t) => row.reduce((sum, log, v) => sum + Math.exp(log) * (log - q[w]![t]![v]!), 0))),
    ),
  );
  const agreement = meanInterval(
    p.map((rows, w) => mean(rows.map((row, t) => Number(likeliest(row) === likeliest(q[w]![t]!))))),
  );
  expect(found.tokens).toBe(60);
  for (const bound of ['value', 'low', 'high'] as const) {
    expect(found.perplexity[bound] / Math.exp(nll[bound])).toBeCloseTo(1, 3);
    expect(found.kl![bound]).toBeCloseTo(kl[bound], 3);
    expect(found.top1Agreement![bound]).toBeCloseTo(Math.min(1, Math.max(0, agreement[bound])), 5);
  }
  await closeExecution(model);
  await closeExecution(teacher);
});

test('a model agrees with itself; without a teacher there is nothing to agree with', async () => {
  const model = await open(mixed, 1, runtime);
  const own = await evaluate(model, ids, { window: 20, teacher: model });
  expect(own.tokens).toBe(100);
  expect(own.top1Agreement).toEqual({ value: 1, low: 1, high: 1 });
  expect(Math.abs(own.kl!.value)).toBeLessThan(1e-5);
  expect(Object.keys(await evaluate(model, ids, { window: 20 }))).toEqual(['tokens', 'perplexity']);
  await closeExecution(model);
});

test('many windows run in several passes and give the same as in one', async () => {
  const model = await open(mixed, 1, runtime);
  const long = Int32Array.from({ length: 700 * 4 }, (_, i) => ids[(i * 7 + (i >> 3)) % 100]!);
  const all = await evaluate(model, long, { window: 4 }); // 700 windows, 512 in a pass
  const halves = [
    await evaluate(model, long.slice(0, 1400), { window: 4 }),
    await evaluate(model, long.slice(1400), { window: 4 }),
  ];
  const logs = halves.map(({ perplexity }) => Math.log(perplexity.value));
  expect(Math.log(all.perplexity.value)).toBeCloseTo(mean(logs), 5);
  await closeExecution(model);
});

test('one window: the interval is over its tokens', async () => {
  const model = await open(mixed, 1, runtime);
  const { perplexity, tokens } = await evaluate(model, ids, { window: 50, tokens: 50 });
  expect(tokens).toBe(50);
  expect(perplexity.low).toBeLessThan(perplexity.value);
  expect(Number.isFinite(perplexity.high)).toBe(true);
  await closeExecution(model);
});

test('a text or a limit shorter than a window is refused', async () => {
  const model = await open(mixed, 1, runtime);
  await expect(evaluate(model, ids, { window: 101 })).rejects.toMatchObject({
    code: 'bad-usage',
    context: { at: '--text', value: 100 },
  });
  await expect(evaluate(model, ids, { window: 50, tokens: 49 })).rejects.toMatchObject({
    context: { at: '--tokens', value: 49 },
  });
  await closeExecution(model);
});

/** Letters as tokens. */
const encode = (text: string): number[] => Array.from(text, (letter) => letter.charCodeAt(0) % 50);

test('minimal pairs: the larger sum of log-probabilities of tokens 2..N wins, whatever the lengths', async () => {
  const model = await open(mixed, 1, runtime);
  const words = Array.from({ length: 30 }, (_, i) =>
    String.fromCharCode(...Array.from({ length: 1 + (i % 19) }, () => 97 + random.integer(26))),
  );
  const pairs = words.slice(1).map((bad, i) => ({ good: words[i]!, bad }));
  const sumOf = async (sentence: string): Promise<number> => {
    const tokens = encode(sentence);
    const { logProbabilities } = await referenceForward(randomSource(mixed, 1), tokens);
    return tokens.slice(1).reduce((sum, token, t) => sum + logProbabilities[t]![token]!, 0);
  };
  const right = await Promise.all(
    pairs.map(async ({ good, bad }) => (await sumOf(good)) > (await sumOf(bad))),
  );
  const { count, accuracy } = await evaluatePairs(model, pairs, encode);
  expect(count).toBe(29);
  expect(accuracy.value).toBeCloseTo(right.filter(Boolean).length / 29, 10);
  expect(accuracy.low).toBeLessThan(accuracy.value);
  await closeExecution(model);
});

test('pairs are read line by line, other fields ignored, faults named', () => {
  const line = JSON.stringify({ sentence_good: 'A is.', sentence_bad: 'A are.', UID: 'x', pairID: '0' });
  expect(parsePairs(`${line}\n\n${line}\n`, 'p.jsonl')).toEqual([
    { good: 'A is.', bad: 'A are.' },
    { good: 'A is.', bad: 'A are.' },
  ]);
  expect(() => parsePairs(`${line}\n{"sentence_good": "A"}`, 'p.jsonl')).toThrow(/line 2.*sentence_bad/);
  expect(() => parsePairs(`${line}\n{"sentence`, 'p.jsonl')).toThrow(/JSON/);
  expect(() => parsePairs('\n', 'p.jsonl')).toThrow(/no pairs/);
});
