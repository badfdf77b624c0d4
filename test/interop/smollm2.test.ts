/** A real model, read by us and by software we did not write. Skipped where ../shared does not hold it. */
import { existsSync, readFileSync } from 'node:fs';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { evaluate } from '../../src/evaluate/index.ts';
import { embed, forward, nextTokenLogProbabilities } from '../../src/execution/index.ts';
import { openTeacher, type Teacher } from '../../src/pipeline/teacher.ts';
import { inLlamaCpp, tokenLogProbabilities } from './llama-cpp.ts';

const path = '../shared/models/SmolLM2-135M-Instruct.Q4_1.gguf';
const reference = '../shared/models/SmolLM2-135M-reference.json';
const text = '../shared/data/wikitext-2-valid.txt';
const absent = [path, reference, text].filter((file) => !existsSync(file));
const skip = absent.length > 0;
const reason = skip ? ` (skipped: there is no ${absent.join(', ')})` : '';

let teacher: Teacher;
beforeAll(async () => {
  if (!skip) teacher = await openTeacher(path, { device: 'cpu' });
});
afterAll(async () => {
  if (!skip) await teacher.close();
});

interface ReferenceCase {
  readonly text: string;
  readonly tokens: readonly number[];
  readonly top10: readonly { readonly token: number; readonly logprob: number }[];
}

test.skipIf(skip)(
  `ids and top-10 log-probabilities are those of the PyTorch reference${reason}`,
  async () => {
    const { cases } = JSON.parse(readFileSync(reference, 'utf8')) as { cases: readonly ReferenceCase[] };
    const tokenizer = await teacher.checkpoint.tokenizer();
    const execution = await teacher.execution();
    for (const { text, tokens, top10 } of cases) {
      const ids = tokenizer.encode(text);
      expect([...ids]).toEqual(tokens);
      const embedded = await embed(execution, ids, { batch: 1, tokens: ids.length });
      const stream = await forward(execution, embedded, { batch: 1, tokens: ids.length });
      const logProbabilities = await nextTokenLogProbabilities(execution, stream, ids.length - 1);
      for (const { token, logprob } of top10) {
        expect(Math.abs(logProbabilities[token]! - logprob), `${text}: ${token}`).toBeLessThan(1e-3);
      }
      await execution.runtime.release(embedded, stream);
    }
  },
);

test.skipIf(skip)(`200 kB of real text have llama.cpp's tokens${reason}`, async () => {
  const excerpt = readFileSync(text, 'utf8').slice(0, 200_000);
  const theirs = await inLlamaCpp(path, { vocabOnly: true }, async (model) => model.tokenize(excerpt, true));
  const tokenizer = await teacher.checkpoint.tokenizer();
  expect(Array.from(tokenizer.encode(excerpt))).toEqual(Array.from(theirs));
});

test.skipIf(skip)(
  `perplexity is within 2 % of llama.cpp's, which quantises activations${reason}`,
  async () => {
    const [window, count] = [128, 2];
    const tokenizer = await teacher.checkpoint.tokenizer();
    const ids = tokenizer.encode(readFileSync(text, 'utf8').slice(20_000, 60_000), window * count);
    const ours = await evaluate(await teacher.execution(), ids, { window });
    const theirs = await inLlamaCpp(path, {}, async (model) => {
      const logProbabilities: number[] = [];
      for (let start = 0; start < ids.length; start += window) {
        logProbabilities.push(...(await tokenLogProbabilities(model, ids.slice(start, start + window))));
      }
      return Math.exp(-logProbabilities.reduce((a, b) => a + b) / logProbabilities.length);
    });
    expect(Math.abs(ours.perplexity.value / theirs - 1)).toBeLessThan(0.02);
  },
  300_000,
);
