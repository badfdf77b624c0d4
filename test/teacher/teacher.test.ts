/** The bundled teacher: its text is split as stated, its tokenizer loses nothing, its weights are what its card says. */
import { readFileSync } from 'node:fs';
import { Tokenizer } from '@huggingface/tokenizers';
import { expect, test } from 'vitest';
import { trainTokenizer } from '../../bench/teacher/byte-pair.ts';
import { crossEntropy, huggingFaceConfig, parameterShapes } from '../../bench/teacher/model.ts';
import { graph, input } from '../../src/graph/index.ts';
import { bundledText } from '../../src/model/bundled-text.ts';
import { openSafetensors, type Tensor } from '../../src/tensor/index.ts';
import { run } from '../graph/run.ts';

const folder = 'models/moby-2m';
const json = (name: string): object => JSON.parse(readFileSync(`${folder}/${name}`, 'utf8')) as object;
const text = bundledText();

test('no document is in two splits', () => {
  const sentences = (part: string): string[] =>
    part.split(/(?<=\.)\s+/).filter((sentence) => sentence.length > 120);
  const seen = new Set(sentences(text.train));
  const leaked = (part: string): number => sentences(part).filter((sentence) => seen.has(sentence)).length;
  for (const part of [text.validation, text.evaluation]) {
    expect(part.length).toBeGreaterThan(500_000);
    // Presidents repeat themselves (proclamations, quoted statutes): a few sentences in thousands, never a document.
    expect(leaked(part) / sentences(part).length).toBeLessThan(0.002);
  }
});

test('byte pairs are learnt by frequency, and every byte stays a token', () => {
  const made = trainTokenizer('low lower lowest low low', 260) as {
    model: { vocab: object; merges: string[] };
  };
  expect(made.model.merges.slice(0, 2)).toEqual(['l o', 'lo w']);
  expect(Object.keys(made.model.vocab)).toHaveLength(260);
  expect(() => trainTokenizer('ab', 300)).toThrow('too short for a vocabulary');
});

test('its tokenizer gives back every byte', () => {
  const tokenizer = new Tokenizer(json('tokenizer.json'), json('tokenizer_config.json'));
  for (const sample of [text.evaluation.slice(0, 20_000), 'naïve “☃” 東京 \t\n\n  end .', '\u0000\u007f~']) {
    expect(tokenizer.decode(tokenizer.encode(sample).ids)).toBe(sample);
  }
});

test('its weights predict held-out text as well as its card says', { timeout: 60_000 }, async () => {
  const [batch, tokens] = [8, huggingFaceConfig.max_position_embeddings];
  const tokenizer = new Tokenizer(json('tokenizer.json'), json('tokenizer_config.json'));
  const { ids } = tokenizer.encode(text.validation.slice(100_000, 120_000));
  const parameters = Object.entries(parameterShapes).map(
    ([name, shape]) => [name, input(name, 'float32', shape)] as const,
  );
  const loss = crossEntropy(Object.fromEntries(parameters), input('ids', 'int32', [batch, tokens + 1]));

  const file = await openSafetensors(`${folder}/model.safetensors`);
  const weights: Record<string, Tensor> = {};
  for (const [name, tensor] of file.tensors) weights[name] = await tensor.load();
  await file.close();
  expect(Object.fromEntries(Object.entries(weights).map(([name, { shape }]) => [name, shape]))).toEqual(
    parameterShapes,
  );

  const windows = Int32Array.from({ length: batch * (tokens + 1) }, (_, i) => {
    const [row, column] = [Math.floor(i / (tokens + 1)), i % (tokens + 1)];
    return ids[row * tokens + column]!;
  });
  const feeds = { ...weights, ids: { dtype: 'int32', shape: [batch, tokens + 1], data: windows } } as const;
  const measured = (await run(graph({ loss }), feeds))['loss']!.data[0]!;
  const card = /this model, validation text \| ([\d.]+)/.exec(readFileSync(`${folder}/README.md`, 'utf8'));
  // 2048 tokens of one place against 65 thousand of everywhere.
  expect(Math.abs(measured - Number(card![1]))).toBeLessThan(0.35);
});
