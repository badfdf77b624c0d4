import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { bundledTeacher, openModel, type Checkpoint, type Tokenizer } from '../../src/model/index.ts';
import { loadTexts, ownTokens, windowsOf, type RunText, type TextOptions } from '../../src/pipeline/texts.ts';

let folder: string;
let checkpoint: Checkpoint;
let tokenizer: Tokenizer;
const path = (name: string): string => join(folder, name);
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'puzzle-texts-'));
  checkpoint = await openModel(bundledTeacher);
  tokenizer = await checkpoint.tokenizer();
  const text = (words: readonly string[]): string =>
    Array.from({ length: 400 }, (_, i) => words.map((word) => `${word} ${i}`).join(', ')).join('.\n\n');
  await writeFile(path('sea.txt'), text(['the whale', 'the ship', 'the captain', 'a harpoon']));
  await writeFile(path('land.txt'), text(['the mountain', 'a road', 'some horses', 'the town']));
  await writeFile(path('short.txt'), 'Call me Ishmael.');
});
afterAll(async () => {
  await checkpoint.close();
  await rm(folder, { recursive: true, force: true });
});

const window = 32;
const options: TextOptions = {
  window,
  calibrationTokens: 40 * window,
  validationTokens: 4 * window,
  scoreTokens: 6 * window,
  selectionTokens: 3 * window,
  evaluationTokens: 4 * window,
};

const windowKeys = ({ ids, count }: RunText): string[] =>
  Array.from({ length: count }, (_, i) => ids.slice(i * window, (i + 1) * window).join());
const about = (text: RunText, word: string): number =>
  Array.from({ length: text.count }, (_, i) =>
    tokenizer.decode(text.ids.slice(i * window, (i + 1) * window)),
  ).filter((decoded) => decoded.includes(word)).length;

test('no window serves two purposes, and each purpose has what was asked', async () => {
  const texts = await loadTexts({ ...options, texts: [{ path: path('sea.txt'), weight: 1 }] }, tokenizer);
  const { calibration, validation, score, selection, evaluation } = texts;
  const all = [calibration, validation, score, selection, ...evaluation];
  expect(all.map(({ count }) => count)).toEqual([40, 4, 6, 3, 4]);
  const keys = all.flatMap(windowKeys);
  expect(new Set(keys).size).toBe(keys.length);
  expect(new Set(all.map(({ hash }) => hash)).size).toBe(all.length);
});

test('several texts share the tokens by their weights, in turns', async () => {
  const weighted = [
    { path: path('sea.txt'), weight: 3 },
    { path: path('land.txt'), weight: 1 },
  ];
  const { calibration, score, evaluation } = await loadTexts({ ...options, texts: weighted }, tokenizer);
  expect(calibration.count).toBe(40);
  expect(about(calibration, 'whale')).toBe(30);
  expect(about(calibration, 'mountain')).toBe(10);
  expect(calibration.name).toContain('sea.txt (30 windows)');
  // Any run of windows has its share of each.
  expect(about(windowsOf(calibration, 0, 20), 'mountain')).toBe(5);
  expect(about(score, 'mountain')).toBeGreaterThan(0);
  expect(evaluation).toHaveLength(2);
});

test('scores come from several domains in turns, the refit from texts of its own', async () => {
  const texts = [{ path: path('sea.txt'), weight: 1 }];
  const mixed = { ...options, texts, scoreTexts: [path('sea.txt'), path('land.txt')] };
  const { score, selection, calibration, refit } = await loadTexts(mixed, tokenizer);
  expect([about(score, 'whale'), about(score, 'mountain')]).toEqual([3, 3]);
  expect(about(selection, 'mountain')).toBeGreaterThan(0);
  expect(refit).toBe(calibration);
  const own = await loadTexts({ ...mixed, refitTexts: ['bundled'] }, tokenizer);
  expect(own.refit.name).toContain('bundled');
  expect(own.calibration.hash).toBe(calibration.hash);
});

test('scores and selection share a text that is shorter than asked, and one window is not enough', async () => {
  const texts = [{ path: path('sea.txt'), weight: 1 }];
  const longer = { ...options, texts, scoreTokens: 6000 * window, selectionTokens: 3000 * window };
  const { score, selection } = await loadTexts(longer, tokenizer);
  expect(score.count / selection.count).toBeCloseTo(2, 0);
  const short = loadTexts({ ...options, texts, scoreTexts: [path('short.txt')] }, tokenizer);
  await expect(short).rejects.toMatchObject({ code: 'text-too-short' });
});

test("the teacher's own text is asked for by purpose, and takes the place of a file", async () => {
  expect(ownTokens(options)).toEqual({});
  const half = [
    { path: path('sea.txt'), weight: 1 },
    { path: 'own', weight: 1 },
  ];
  const some = (share: number, windows: number): number => Math.ceil(1.02 * share * windows * window);
  expect(ownTokens({ ...options, texts: half })).toEqual({
    distil: some(1 / 2, 44),
    score: some(1 / 2, 9),
    evaluation: some(1 / 2, 4),
  });
  const scored = { ...options, texts: half.slice(0, 1), scoreTexts: ['bundled', 'own', 'own'] };
  expect(ownTokens({ ...scored, refitTexts: ['own'] })).toEqual({
    distil: some(1, 44),
    score: some(2 / 3, 9),
  });
  const said = await readFile(path('land.txt'), 'utf8');
  const own = { distil: said, score: said, evaluation: said };
  const { calibration, score, evaluation } = await loadTexts(
    { ...options, texts: half },
    tokenizer,
    async () => own,
  );
  expect(about(calibration, 'mountain')).toBe(20);
  expect(about(score, 'mountain')).toBe(3);
  expect(evaluation[1]!.name).toContain('own text');
});
