import { afterAll, afterEach, beforeAll, expect, test } from 'vitest';
import {
  evaluate,
  evaluateChoices,
  evaluatePairs,
  parseChoices,
  parsePairs,
} from '../../src/evaluate/index.ts';
import { closeExecution } from '../../src/execution/index.ts';
import { openRuntime, type Runtime } from '../../src/runtime/index.ts';
import { meanInterval } from '../../src/util/interval.ts';
import { seededRandom } from '../../src/util/random.ts';
import { uniformArchitecture } from '../blocks/architectures.ts';
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
  expect(() => parsePairs('\n', 'p.jsonl')).toThrow(/no lines/);
});

test('windows that overlap predict every token but the first once, from what their window shows', async () => {
  const [window, stride] = [12, 5];
  const model = await open(mixed, 1, runtime);
  const found = await evaluate(model, ids, { window, stride, tokens: 30 });
  const starts = [0, 5, 10, 15]; // 15 + 12 = 27 tokens; the next window would end at 32
  const groups: number[][] = [];
  for (const start of starts) {
    const tokens = Array.from(ids.slice(start, start + window));
    const { logProbabilities } = await referenceForward(randomSource(mixed, 1), tokens);
    const from = start === 0 ? 1 : window - stride;
    groups.push(tokens.slice(from).map((token, t) => -logProbabilities[from + t - 1]![token]!));
  }
  expect(found.tokens).toBe(27);
  expect(groups.flat().length).toBe(26);
  expect(Math.log(found.perplexity.value)).toBeCloseTo(mean(groups.flat()), 4);
  expect(found.perplexity.low).toBeLessThan(found.perplexity.value);
  for (const wrong of [0, 13, 2.5])
    await expect(evaluate(model, ids, { window, stride: wrong })).rejects.toMatchObject({
      code: 'bad-usage',
      context: { at: '--stride', value: wrong },
    });
  await closeExecution(model);
});

test('per byte: the same likelihood shared among the bytes that were predicted', async () => {
  const model = await open(mixed, 1, runtime);
  const decode = (tokens: Iterable<number>): string => [...tokens].map((id) => 'aé€'[id % 3]).join('');
  for (const { window, stride } of [
    { window: 10, stride: 10 },
    { window: 20, stride: 6 },
  ]) {
    const { bytes, perplexity, perplexityPerByte, tokens } = await evaluate(model, ids, {
      window,
      stride,
      decode,
    });
    const predicted = Array.from(ids.slice(0, tokens)).filter((_, i) =>
      stride < window ? i > 0 : i % window > 0,
    );
    expect(bytes).toBe(Buffer.byteLength(decode(predicted)));
    for (const bound of ['value', 'low', 'high'] as const)
      expect(Math.log(perplexityPerByte![bound])).toBeCloseTo(
        (Math.log(perplexity[bound]) * predicted.length) / bytes!,
        6,
      );
  }
  await closeExecution(model);
});

test("the teacher's likeliest token among the model's five and ten likeliest", async () => {
  const [model, teacher] = [await open(mixed, 1, runtime), await open(mixed, 2, runtime)];
  const found = await evaluate(model, ids, { window: 25, teacher, ranks: true });
  const [q, p] = [await reference(1, 25, 4), await reference(2, 25, 4)];
  const shareWithin = (k: number): number =>
    mean(
      p.flatMap((rows, w) =>
        rows.map((row, t) => {
          const own = q[w]![t]!;
          return Number(own.filter((value) => value > own[likeliest(row)]!).length < k);
        }),
      ),
    );
  expect(found.top1Agreement!.value).toBeCloseTo(shareWithin(1), 10);
  expect(found.top5Agreement!.value).toBeCloseTo(shareWithin(5), 10);
  expect(found.top10Agreement!.value).toBeCloseTo(shareWithin(10), 10);
  expect(found.top10Agreement!.high).toBeGreaterThan(found.top1Agreement!.low);
  await closeExecution(model);
  await closeExecution(teacher);
});

test('KL from a teacher of another width', async () => {
  const wide = uniformArchitecture({
    layers: 1,
    hidden: 24,
    vocabularySize: mixed.stream.vocabularySize,
    attention: { kind: 'gqa', heads: 3, kvHeads: 3, headDim: 8 },
    ffn: { kind: 'no-op' },
  });
  const [model, teacher] = [await open(mixed, 1, runtime), await open(wide, 2, runtime)];
  const { kl } = await evaluate(model, ids, { window: 20, tokens: 20, teacher });
  const rowsOf = async (source: ReturnType<typeof randomSource>): Promise<number[][]> =>
    (await referenceForward(source, Array.from(ids.slice(0, 20)))).logProbabilities.slice(0, -1);
  const [q, p] = [await rowsOf(randomSource(mixed, 1)), await rowsOf(randomSource(wide, 2))];
  const expected = p.map((row, t) => row.reduce((sum, log, v) => sum + Math.exp(log) * (log - q[t]![v]!), 0));
  expect(kl!.value).toBeCloseTo(mean(expected), 3);
  await closeExecution(model);
  await closeExecution(teacher);
});

test('multiple choice: the ending of the largest log-likelihood after its context, plain and per byte', async () => {
  const model = await open(mixed, 1, runtime);
  const word = (): string =>
    String.fromCharCode(...Array.from({ length: 1 + random.integer(12) }, () => 97 + random.integer(26)));
  const questions = Array.from({ length: 25 }, () => {
    const endings = Array.from({ length: 2 + random.integer(3) }, word);
    return { context: word(), endings, label: random.integer(endings.length) };
  });
  const letters = (text: string): Int32Array => Int32Array.from(encode(text));
  const right = { plain: 0, normalised: 0 };
  for (const { context, endings, label } of questions) {
    const likelihoods: number[] = [];
    for (const ending of endings) {
      const tokens = encode(`${context} ${ending}`);
      const { logProbabilities } = await referenceForward(randomSource(mixed, 1), tokens);
      const own = tokens.map((token, t) => (t < context.length ? 0 : logProbabilities[t - 1]![token]!));
      likelihoods.push(own.reduce((a, b) => a + b, 0));
    }
    const perByte = likelihoods.map((value, i) => value / endings[i]!.length);
    right.plain += Number(likeliest(likelihoods) === label);
    right.normalised += Number(likeliest(perByte) === label);
  }
  const { count, accuracy, normalisedAccuracy } = await evaluateChoices(model, questions, letters);
  expect(count).toBe(25);
  expect(accuracy.value).toBeCloseTo(right.plain / 25, 10);
  expect(normalisedAccuracy.value).toBeCloseTo(right.normalised / 25, 10);
  expect(right.plain).not.toBe(right.normalised); // so the test tells them apart
  expect(accuracy.low).toBeLessThan(accuracy.value);
  await closeExecution(model);
});

test('of a context beyond the model the beginning is dropped', async () => {
  const short = { ...mixed, stream: { ...mixed.stream, contextLength: 16 } };
  const model = await open(short, 1, runtime);
  const letters = (text: string): Int32Array => Int32Array.from(encode(text));
  const endings = ['abc', 'xyzw'];
  const long = await evaluateChoices(model, [{ context: 'q'.repeat(300), endings, label: 0 }], letters);
  const cut = await evaluateChoices(model, [{ context: 'q'.repeat(12), endings, label: 0 }], letters);
  expect(long.accuracy.value).toBe(cut.accuracy.value);
  await closeExecution(model);
});

test('questions in the three forms they come in, faults named', () => {
  const lines = [
    { context: 'A', endings: ['b', 'c'], label: 1 },
    { ctx: 'A', endings: ['b', 'c'], label: '1', ind: 24, activity_label: 'x' },
    { question: 'A?', choices: { text: ['b', 'c'], label: ['1', '2'] }, answerKey: '2', id: 'q' },
  ];
  const text = lines.map((line) => JSON.stringify(line)).join('\n');
  expect(parseChoices(text, 'c.jsonl')).toEqual([
    { context: 'A', endings: ['b', 'c'], label: 1 },
    { context: 'A', endings: ['b', 'c'], label: 1 },
    { context: 'Question: A?\nAnswer:', endings: ['b', 'c'], label: 1 },
  ]);
  const refuse = (line: object, at: RegExp): void =>
    expect(() => parseChoices(JSON.stringify(line), 'c.jsonl')).toThrow(at);
  refuse({ context: 'A', endings: ['b', 'c'], label: 2 }, /line 1.*names none/);
  refuse({ ...lines[2], answerKey: 'Z' }, /names none/);
  refuse({ context: 'A', endings: ['b'], label: 0 }, /endings/);
  refuse({ ctx: 'A', endings: ['b', 'c'], label: 'first' }, /label/);
  expect(() => parseChoices('', 'c.jsonl')).toThrow(/no lines/);
});
