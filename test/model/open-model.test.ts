import { mkdirSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { openModel } from '../../src/model/index.ts';
import { families } from '../../src/model/families.ts';
import { llama3Divisors } from '../../src/model/gguf-config.ts';
import { halvesToNeighbours } from '../../src/model/rope-order.ts';
import { float32, inMemory, writeGguf, writeSafetensors, type GgufValue } from '../../src/tensor/index.ts';
import { temporaryFolder } from '../tensor/tensor-files.ts';
import {
  namedTensors,
  tinyArchitecture,
  tinyConfig,
  tinyMetadata,
  tinyWeights,
  vocabularySize,
  writeHuggingFace,
  type TinyWeights,
} from './tiny-model.ts';
import { tokenizerJson } from './tiny-tokenizer.ts';

const home = temporaryFolder();
let folders = 0;
const freshFolder = (): string => join(home, String(folders++));

test.each(Object.keys(families))('a %s folder gives its architecture and weights', async (family) => {
  const folder = freshFolder();
  const architecture = tinyArchitecture(family);
  const weights = tinyWeights(architecture);
  await writeHuggingFace(folder, tinyConfig(family), namedTensors(architecture, weights, 'huggingFace'));
  const model = await openModel(folder);
  expect(model.architecture).toEqual(architecture);
  for (const [i, expected] of weights.slots.entries()) expect(await model.slotWeights(i)).toEqual(expected);
  expect(await model.embedding()).toEqual(weights.stream.embedding);
  expect(await model.finalNorm()).toEqual(weights.stream.norm);
  expect(await model.head()).toEqual(weights.stream.head);
  await model.close();
});

/** What a converter to GGUF does with Q and K of Llama. */
const permuted = (weights: TinyWeights): TinyWeights => ({
  ...weights,
  slots: weights.slots.map((slot) =>
    slot.q === undefined
      ? slot
      : { ...slot, q: halvesToNeighbours(slot.q, 6), k: halvesToNeighbours(slot.k!, 6) },
  ),
});

test.each(['llama', 'qwen2', 'qwen3'])('a %s GGUF gives the same as its folder', async (family) => {
  const path = join(home, `${family}.gguf`);
  const architecture = tinyArchitecture(family, true);
  const weights = tinyWeights(architecture);
  const stored = families[family]!.ggufPairsNeighbours ? permuted(weights) : weights;
  await writeGguf(path, tinyMetadata(family), namedTensors(architecture, stored, 'gguf'));
  const model = await openModel(path);
  expect(model.architecture).toEqual(architecture);
  for (const [i, expected] of weights.slots.entries()) expect(await model.slotWeights(i)).toEqual(expected);
  expect(await model.head()).toEqual(weights.stream.embedding);
  await model.close();
});

test('row order: the order that llama.cpp stores, spelt out for one head of 6', () => {
  const rows = float32(Float32Array.of(0, 1, 2, 3, 4, 5), [6, 1]);
  expect(Array.from(halvesToNeighbours(rows, 6).data)).toEqual([0, 3, 1, 4, 2, 5]);
});

/** What a config gives for positions. */
const positionsOf = async (family: string, changes: object): Promise<unknown> => {
  const folder = freshFolder();
  const architecture = tinyArchitecture(family);
  await writeHuggingFace(
    folder,
    tinyConfig(family, changes),
    namedTensors(architecture, tinyWeights(architecture), 'huggingFace'),
  );
  const model = await openModel(folder);
  await model.close();
  const { stream, slots } = model.architecture;
  return {
    theta: stream.ropeTheta,
    scaling: stream.ropeScaling,
    windows: slots.map(({ block }) => block.window),
  };
};

test('config.json: every form of RoPE scaling and windows', async () => {
  const llama3 = {
    rope_type: 'llama3',
    factor: 8,
    low_freq_factor: 1,
    high_freq_factor: 4,
    original_max_position_embeddings: 32,
  };
  const scaling = { factor: 8, lowFrequencyFactor: 1, highFrequencyFactor: 4, originalContextLength: 32 };
  const none = [undefined, undefined, undefined, undefined];
  expect(await positionsOf('llama', { rope_scaling: llama3 })).toEqual({
    theta: 10000,
    scaling,
    windows: none,
  });
  expect(
    await positionsOf('llama', { rope_theta: undefined, rope_parameters: { ...llama3, rope_theta: 5e5 } }),
  ).toEqual({
    theta: 5e5,
    scaling,
    windows: none,
  });
  expect(await positionsOf('mistral', { sliding_window: 16 })).toMatchObject({
    windows: [16, undefined, 16, undefined],
  });
  expect(await positionsOf('llama', { sliding_window: 16 })).toMatchObject({ windows: none });
  const upper = { sliding_window: 16, use_sliding_window: true, max_window_layers: 1 };
  expect(await positionsOf('qwen2', upper)).toMatchObject({ windows: [undefined, undefined, 16, undefined] });
  expect(await positionsOf('qwen2', { ...upper, use_sliding_window: false })).toMatchObject({
    windows: none,
  });
  const listed = { sliding_window: 16, layer_types: ['sliding_attention', 'full_attention'] };
  expect(await positionsOf('qwen3', listed)).toMatchObject({
    windows: [16, undefined, undefined, undefined],
  });
});

test('GGUF: Llama 3 scaling is found in the factors, any other is refused', async () => {
  const architecture = tinyArchitecture('llama', true);
  const tensors = namedTensors(architecture, permuted(tinyWeights(architecture)), 'gguf');
  const scaling = { factor: 32, lowFrequencyFactor: 1, highFrequencyFactor: 4, originalContextLength: 8192 };
  const metadata = tinyMetadata('llama').set('llama.rope.freq_base', { type: 'float32', value: 5e9 });
  const write = async (divisors: Float32Array): Promise<string> => {
    const path = join(freshFolder(), 'model.gguf');
    await writeGguf(path, metadata, [...tensors, inMemory('rope_freqs.weight', float32(divisors, [3]))]);
    return path;
  };
  const divisors = llama3Divisors(3, 5e9, scaling);
  const model = await openModel(await write(divisors));
  expect(model.architecture.stream.ropeScaling).toEqual(scaling);
  await model.close();
  await expect(openModel(await write(Float32Array.of(2, 3, 4)))).rejects.toMatchObject({
    code: 'unsupported-model',
  });
});

test('llama3Divisors: wavelengths under 2048 are kept, over 8192 divided, blended in between (Llama 3.1)', () => {
  const scaling = { factor: 8, lowFrequencyFactor: 1, highFrequencyFactor: 4, originalContextLength: 8192 };
  const divisors = llama3Divisors(64, 500000, scaling);
  const wavelengths = Array.from({ length: 64 }, (_, j) => 2 * Math.PI * 500000 ** (j / 64));
  const [short, long] = [
    divisors.filter((_, j) => wavelengths[j]! < 2048),
    divisors.filter((_, j) => wavelengths[j]! > 8192),
  ];
  expect(new Set(short)).toEqual(new Set([1]));
  expect(new Set(long)).toEqual(new Set([8]));
  const between = Array.from(divisors.subarray(short.length, 64 - long.length));
  expect(between.length).toBeGreaterThan(3);
  expect(between).toEqual(between.toSorted((a, b) => a - b));
});

const architecture = tinyArchitecture('llama');
const tensors = namedTensors(architecture, tinyWeights(architecture), 'huggingFace');
const config = tinyConfig('llama');

test.each([
  [
    'an unknown family',
    { ...config, model_type: 'gpt_neox' },
    tensors,
    'unsupported-model',
    'config.json: model_type',
  ],
  [
    'a missing field',
    { ...config, hidden_size: undefined },
    tensors,
    'file-invalid',
    'config.json: hidden_size',
  ],
  ['a zero extent', { ...config, vocab_size: 0 }, tensors, 'file-invalid', 'config.json: vocab_size'],
  [
    'yarn',
    { ...config, rope_scaling: { type: 'yarn', factor: 4 } },
    tensors,
    'unsupported-model',
    'rope_scaling',
  ],
  [
    'GPTQ',
    { ...config, quantization_config: { bits: 4 } },
    tensors,
    'unsupported-model',
    'quantization_config',
  ],
  ['biases everywhere', { ...config, attention_bias: true }, tensors, 'unsupported-model', 'attention_bias'],
  ['GELU', { ...config, hidden_act: 'gelu' }, tensors, 'unsupported-model', 'hidden_act'],
  ['a missing tensor', config, tensors.slice(1), 'weights-missing', 'model.embed_tokens.weight'],
  ['wrong shapes', { ...config, intermediate_size: 27 }, tensors, 'weights-shape', 'mlp.gate_proj.weight'],
  [
    'a tensor that nothing reads',
    config,
    [...tensors, inMemory('model.layers.0.mlp.experts.weight', float32(Float32Array.of(1), [1]))],
    'unsupported-model',
    'model.layers.0.mlp.experts.weight',
  ],
])('%s is refused', async (_, badConfig, badTensors, code, at) => {
  const folder = freshFolder();
  await writeHuggingFace(folder, badConfig, badTensors);
  await expect(openModel(folder)).rejects.toMatchObject({
    code,
    context: { at: expect.stringContaining(at) },
  });
});

test.each<[string, (metadata: Map<string, GgufValue>) => void, string, string]>([
  [
    'an unknown architecture',
    (m) => m.set('general.architecture', { type: 'string', value: 'rwkv' }),
    'unsupported-model',
    'general.architecture',
  ],
  ['no architecture', (m) => m.delete('general.architecture'), 'file-invalid', 'general.architecture'],
  ['no layer count', (m) => m.delete('llama.block_count'), 'file-invalid', 'llama.block_count'],
  [
    'a layer count as text',
    (m) => m.set('llama.block_count', { type: 'string', value: '2' }),
    'file-invalid',
    'llama.block_count',
  ],
  [
    'too many layers',
    (m) => m.set('llama.block_count', { type: 'uint32', value: 3 }),
    'weights-missing',
    'blk.2.',
  ],
  [
    'partial rotation',
    (m) => m.set('llama.rope.dimension_count', { type: 'uint32', value: 4 }),
    'unsupported-model',
    'rope.dimension_count',
  ],
  [
    'linear scaling',
    (m) => m.set('llama.rope.scaling.type', { type: 'string', value: 'linear' }),
    'unsupported-model',
    'rope.scaling.type',
  ],
  [
    'experts',
    (m) => m.set('llama.expert_count', { type: 'uint32', value: 8 }),
    'unsupported-model',
    'expert_count',
  ],
])('GGUF with %s is refused', async (_, damage, code, at) => {
  const path = join(freshFolder(), 'model.gguf');
  const metadata = tinyMetadata('llama');
  damage(metadata);
  await writeGguf(path, metadata, namedTensors(architecture, tinyWeights(architecture), 'gguf'));
  await expect(openModel(path)).rejects.toMatchObject({ code, context: { at: expect.stringContaining(at) } });
});

test('paths without a model are refused', async () => {
  await expect(openModel(join(home, 'absent'))).rejects.toMatchObject({ code: 'file-missing' });
  mkdirSync(join(home, 'empty'));
  await expect(openModel(join(home, 'empty'))).rejects.toMatchObject({ code: 'file-missing' });
  writeFileSync(join(home, 'notes.txt'), 'This is no model.');
  await expect(openModel(join(home, 'notes.txt'))).rejects.toMatchObject({ code: 'file-invalid' });
});

test('a NaN in the weights is refused when it is loaded, and named', async () => {
  const folder = freshFolder();
  const weights = tinyWeights(architecture);
  weights.slots[3]!.up!.data[17] = Number.NaN;
  await writeHuggingFace(folder, config, namedTensors(architecture, weights, 'huggingFace'));
  const model = await openModel(folder);
  await expect(model.slotWeights(3)).rejects.toMatchObject({
    code: 'weights-not-finite',
    context: { at: expect.stringContaining('model.layers.1.mlp.up_proj.weight') },
  });
  await model.close();
});

test('a tokenizer with more ids than embeddings is refused', async () => {
  const folder = freshFolder();
  const extra = { id: vocabularySize, content: '<extra>', special: true };
  await writeHuggingFace(folder, config, tensors, tokenizerJson({ added_tokens: [extra] }));
  const model = await openModel(folder);
  await expect(model.tokenizer()).rejects.toMatchObject({ code: 'tokenizer-mismatch' });
  await model.close();
});

test('a folder without tokenizer opens, and says so when the tokenizer is asked for', async () => {
  const folder = freshFolder();
  await writeHuggingFace(folder, config, tensors);
  rmSync(join(folder, 'tokenizer.json'));
  const model = await openModel(folder);
  await expect(model.tokenizer()).rejects.toMatchObject({ code: 'file-missing' });
  await model.close();
});

const identityOf = async (folder: string): Promise<string> => {
  const model = await openModel(folder);
  await model.close();
  return model.identity;
};

test('identity follows content, not place', async () => {
  const [first, second, moved] = [freshFolder(), freshFolder(), freshFolder()];
  await writeHuggingFace(first, config, tensors);
  await writeHuggingFace(second, config, tensors);
  const identity = await identityOf(first);
  expect(await identityOf(second)).toBe(identity);
  renameSync(first, moved);
  expect(await identityOf(moved)).toBe(identity);
  const other = tinyWeights(architecture, 2);
  await writeSafetensors(join(second, 'model.safetensors'), namedTensors(architecture, other, 'huggingFace'));
  expect(await identityOf(second)).not.toBe(identity);
});
