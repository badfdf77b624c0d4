import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { runPuzzle } from './run-puzzle.ts';

const teacher = 'models/moby-2m';
let folder: string;
const file = (name: string): string => join(folder, name);

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'puzzle-evaluate-'));
  await writeFile(file('text.txt'), 'It is not down on any map; true places never are. '.repeat(30));
  await writeFile(
    file('pairs.jsonl'),
    [
      { sentence_good: 'The whale was a great fish.', sentence_bad: 'Whale great the fish was a.' },
      { sentence_good: 'He looked at the sea.', sentence_bad: 'Looked sea he the at.' },
    ]
      .map((line) => JSON.stringify(line))
      .join('\n'),
  );
  await writeFile(
    file('choices.jsonl'),
    JSON.stringify({ context: 'The captain of the', endings: ['ship', 'zqx vvk'], label: 0 }),
  );
});
afterAll(async () => rm(folder, { recursive: true, force: true }));

const interval = { value: expect.any(Number), low: expect.any(Number), high: expect.any(Number) };

test('evaluate --text: what was read, in which windows, and every figure with its interval', async () => {
  const text = ['--text', file('text.txt'), '--window', '64', '--stride', '32', '--tokens', '256'];
  const sets = ['--pairs', file('pairs.jsonl'), '--choices', file('choices.jsonl')];
  const { code, stdout } = await runPuzzle('evaluate', ...text, '--teacher', teacher, ...sets, '--json');
  expect(code).toBe(0);
  const document = JSON.parse(stdout);
  expect(document).toEqual({
    schema: 'puzzle/evaluation@1',
    model: expect.stringContaining('moby-2m'),
    teacher,
    window: 64,
    stride: 32,
    tokens: 256,
    bytes: expect.any(Number),
    perplexity: interval,
    perplexityPerByte: interval,
    kl: interval,
    top1Agreement: { value: 1, low: 1, high: 1 },
    top5Agreement: { value: 1, low: 1, high: 1 },
    top10Agreement: { value: 1, low: 1, high: 1 },
    pairs: { count: 2, accuracy: { ...interval, value: 1 } },
    choices: { count: 1, accuracy: { ...interval, value: 1 }, normalisedAccuracy: { ...interval, value: 1 } },
  });
  expect(Math.abs(document.kl.value)).toBeLessThan(1e-5);
  const perToken = Math.log(document.perplexity.value) * 255;
  expect(Math.log(document.perplexityPerByte.value) * document.bytes).toBeCloseTo(perToken, 6);
});

test('several models are a table, one column of figures each', async () => {
  const models = ['--model', teacher, '--model', teacher];
  const text = await runPuzzle('evaluate', ...models, '--pairs', file('pairs.jsonl'));
  expect(text.stdout).toMatch(/models\/moby-2m +95 % interval +models\/moby-2m +95 % interval/);
  expect(text.stdout).toMatch(/right of 2 pairs +100 % .* 100 %/);
  const { stdout } = await runPuzzle('evaluate', ...models, '--pairs', file('pairs.jsonl'), '--json');
  const { models: results } = JSON.parse(stdout);
  expect(results).toHaveLength(2);
  expect(results[1]).toEqual(results[0]);
  expect(results[0].pairs.count).toBe(2);
});

const refusals = [
  { args: [], code: 'bad-usage', at: '--text' },
  { args: ['--text', 'TEXT', '--stride', '300'], code: 'bad-usage', at: '--stride' },
  { args: ['--choices', 'TEXT', '--model', 'nowhere'], code: 'file-invalid', at: 'line 1' },
  {
    args: ['--pairs', 'PAIRS', '--model', teacher, '--model', 'nowhere'],
    code: 'file-missing',
    at: 'nowhere',
  },
] as const;

test('what is wrong is named before any work', async () => {
  const files: Readonly<Record<string, string>> = { TEXT: file('text.txt'), PAIRS: file('pairs.jsonl') };
  await Promise.all(
    refusals.map(async ({ args, code, at }) => {
      const outcome = await runPuzzle('evaluate', ...args.map((part) => files[part] ?? part), '--json');
      expect(outcome.code).toBe(2);
      const { error } = JSON.parse(outcome.stdout);
      expect(error.code).toBe(code);
      expect(error.at).toContain(at);
    }),
  );
});
