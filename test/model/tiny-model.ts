/** Small models with random weights, as Hugging Face folders and as GGUF files. */
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { families } from '../../src/model/families.ts';
import { teacherSlots } from '../../src/model/teacher-slots.ts';
import type { Architecture } from '../../src/model/index.ts';
import {
  slotWeightName,
  streamShapes,
  streamWeightNames,
  teacherShapes,
} from '../../src/model/weight-names.ts';
import {
  elementCount,
  float32,
  inMemory,
  writeSafetensors,
  type GgufValue,
  type Shape,
  type StoredTensor,
  type Tensor,
} from '../../src/tensor/index.ts';
import { seededRandom } from '../../src/util/random.ts';
import { byteVocabulary, ggufTokenizerMetadata, tokenizerJson } from './tiny-tokenizer.ts';

export const vocabularySize = byteVocabulary.tokens.length;

/** config.json of a two-layer model: 4 heads of 6, 2 KV heads, hidden 20, FFN 28. */
export const tinyConfig = (family: string, changes: object = {}): Record<string, unknown> => ({
  model_type: family,
  vocab_size: vocabularySize,
  hidden_size: 20,
  intermediate_size: 28,
  num_hidden_layers: 2,
  num_attention_heads: 4,
  num_key_value_heads: 2,
  head_dim: 6,
  rms_norm_eps: 1e-5,
  rope_theta: 10000,
  max_position_embeddings: 64,
  hidden_act: 'silu',
  tie_word_embeddings: false,
  ...changes,
});

export function tinyArchitecture(family: string, tiedEmbeddings = false): Architecture {
  return {
    stream: {
      family,
      vocabularySize,
      hidden: 20,
      normEpsilon: 1e-5,
      ropeTheta: 10000,
      tiedEmbeddings,
      contextLength: 64,
    },
    slots: teacherSlots(2, () => ({
      heads: 4,
      kvHeads: 2,
      headDim: 6,
      family: families[family]!,
      window: undefined,
      width: 28,
    })),
  };
}

/** Weights of an architecture by slot and name; the same seed gives the same. */
export interface TinyWeights {
  readonly stream: Readonly<Record<string, Tensor<'float32'>>>;
  readonly slots: readonly Readonly<Record<string, Tensor<'float32'>>>[];
}

export function tinyWeights({ stream, slots }: Architecture, seed = 1): TinyWeights {
  const random = seededRandom(seed);
  const make = (shape: Shape): Tensor<'float32'> =>
    float32(
      Float32Array.from({ length: elementCount(shape) }, () => random.normal()),
      shape,
    );
  const makeAll = (shapes: Readonly<Record<string, Shape>>): Record<string, Tensor<'float32'>> =>
    Object.fromEntries(Object.entries(shapes).map(([name, shape]) => [name, make(shape)]));
  return {
    stream: makeAll(streamShapes(stream)),
    slots: slots.map(({ block }) => makeAll(teacherShapes(block, stream)!)),
  };
}

/** The weights under the names of a format. */
export function namedTensors(
  architecture: Architecture,
  weights: TinyWeights,
  naming: 'huggingFace' | 'gguf',
): StoredTensor[] {
  const names: Record<string, string> = streamWeightNames[naming];
  return [
    ...Object.entries(weights.stream).map(([weight, tensor]) => inMemory(names[weight]!, tensor)),
    ...weights.slots.flatMap((slotWeights, i) =>
      Object.entries(slotWeights).map(([weight, tensor]) =>
        inMemory(slotWeightName(naming, i, architecture.slots[i]!, weight), tensor),
      ),
    ),
  ];
}

/** Writes a Hugging Face folder. */
export async function writeHuggingFace(
  folder: string,
  config: object,
  tensors: readonly StoredTensor[],
  tokenizer: object = tokenizerJson(),
): Promise<void> {
  mkdirSync(folder, { recursive: true });
  writeFileSync(join(folder, 'config.json'), JSON.stringify(config));
  writeFileSync(join(folder, 'tokenizer.json'), JSON.stringify(tokenizer));
  await writeSafetensors(join(folder, 'model.safetensors'), tensors);
}

const uint32 = (value: number): GgufValue => ({ type: 'uint32', value });

/** Metadata of the model of {@link tinyConfig}. */
export const tinyMetadata = (architecture: string): Map<string, GgufValue> => {
  return new Map<string, GgufValue>([
    ['general.architecture', { type: 'string', value: architecture }],
    [`${architecture}.block_count`, uint32(2)],
    [`${architecture}.context_length`, uint32(64)],
    [`${architecture}.embedding_length`, uint32(20)],
    [`${architecture}.feed_forward_length`, uint32(28)],
    [`${architecture}.attention.head_count`, uint32(4)],
    [`${architecture}.attention.head_count_kv`, uint32(2)],
    [`${architecture}.attention.key_length`, uint32(6)],
    [`${architecture}.attention.value_length`, uint32(6)],
    [`${architecture}.rope.dimension_count`, uint32(6)],
    [`${architecture}.attention.layer_norm_rms_epsilon`, { type: 'float32', value: 1e-5 }],
    [`${architecture}.rope.freq_base`, { type: 'float32', value: 10000 }],
    ...ggufTokenizerMetadata('gpt-2'),
  ]);
};
