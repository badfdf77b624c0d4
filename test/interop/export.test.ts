/** Exported GGUF files in llama.cpp: the bundled teacher and students of it with every kind of block. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { exportModel, openExportSource, type ExportDtype } from '../../src/export/index.ts';
import { openModel } from '../../src/model/index.ts';
import { greedyAgreement, onOurSide, worstOfTop } from '../export/our-side.ts';
import { bundled, mixtures, saveMixture } from '../export/students.ts';
import { temporaryFolder } from '../tensor/tensor-files.ts';
import { greedyContinuation, inLlamaCpp, nextLogProbabilities, tokenLogProbabilities } from './llama-cpp.ts';

const home = temporaryFolder();
const teacher = await openModel(bundled);
afterAll(() => teacher.close());
const students = mixtures(teacher.architecture);

beforeAll(async () => {
  for (const [name, changes] of Object.entries(students))
    await saveMixture(bundled, changes, join(home, name));
});

let exports = 0;
async function ggufOf(path: string, dtype: ExportDtype): Promise<string> {
  const out = join(home, `out-${exports++}`);
  const source = await openExportSource(path);
  try {
    const { files } = await exportModel(source, { format: 'gguf', out, dtype });
    expect(files).toHaveLength(1);
    return join(out, files[0]!.name);
  } finally {
    await source.checkpoint.close();
  }
}

const tokenizer = await teacher.tokenizer();
/** Real prose, from several places of this repository. */
const texts = ['README.md', 'models/moby-2m/README.md', 'docs/architecture.md', 'CONTRIBUTING.md'].flatMap(
  (path) =>
    [0, 300, 600].map((from) => tokenizer.encode(readFileSync(path, 'utf8').slice(from, from + 300), 48)),
);

test.each(['teacher', ...Object.keys(students)])('%s in llama.cpp, float32', async (name) => {
  const path = name === 'teacher' ? bundled : join(home, name);
  const gguf = await ggufOf(path, 'f32');
  await onOurSide(path, (ours) =>
    inLlamaCpp(gguf, {}, async (model) => {
      for (const [index, text] of texts.entries()) {
        const [theirs] = await nextLogProbabilities(model, text, true);
        expect(worstOfTop(await ours.next(text), theirs!, 100), `text ${index}`).toBeLessThan(0.05);
      }
      const start = texts[0]!;
      expect(await greedyAgreement(ours, start, await greedyContinuation(model, start, 64))).toBe(64);
    }),
  );
});

test.each([
  ['f16', 0.05],
  ['bf16', 0.05],
  // llama.cpp quantises activations too where weights are quantised.
  ['q8_0', 0.25],
  ['q4_0', 0.5],
] as const)('%s weights, read back by us and by llama.cpp', async (dtype, within) => {
  const gguf = await ggufOf(join(home, 'every kind'), dtype);
  await onOurSide(gguf, (ours) =>
    inLlamaCpp(gguf, {}, async (model) => {
      for (const [index, text] of texts.entries()) {
        const [theirs] = await nextLogProbabilities(model, text, true);
        expect(worstOfTop(await ours.next(text), theirs!, 100), `text ${index}`).toBeLessThan(within);
      }
    }),
  );
});

test('perplexity is llama.cpp’s within 0.5 %', async () => {
  const path = join(home, 'every kind');
  const gguf = await ggufOf(path, 'f32');
  const [window, count] = [64, 4];
  const ids = tokenizer.encode(readFileSync('README.md', 'utf8'), window * count);
  const ours = await onOurSide(path, (side) => side.perplexity(ids, window));
  const theirs = await inLlamaCpp(gguf, {}, async (model) => {
    const all: number[] = [];
    for (let start = 0; start < ids.length; start += window)
      all.push(...(await tokenLogProbabilities(model, ids.slice(start, start + window))));
    return Math.exp(-all.reduce((a, b) => a + b) / all.length);
  });
  expect(Math.abs(ours / theirs - 1)).toBeLessThan(0.005);
});
