/** Hugging Face folders: config.json in the plainest dialect, sharded safetensors, tokenizer, model card. */
import { copyFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import {
  slotWeightName,
  specialIds,
  streamWeightNames,
  type StreamWeight,
  type Tokenizer,
} from '../model/index.ts';
import { elementCount, writeSafetensors, type StoredTensor } from '../tensor/index.ts';
import type { ExportDtype, Exporter, ExportSource } from './exporter.ts';
import {
  configOf,
  dialectFor,
  dialects,
  refusalOf,
  type DialectName,
  type SpecialTokens,
} from './hf-config.ts';
import { modelCard } from './model-card.ts';
import { counted } from './progress.ts';
import { multiplicationNotes, multiplied, withWholeMatrices } from './whole-matrices.ts';

export const huggingFace: Exporter = {
  describe: 'a folder for transformers, vLLM, TensorRT-LLM and converters',
  dtypes: ['f32', 'f16', 'bf16'],
  dialects: Object.keys(dialects),
  refuses: (architecture, dialect) =>
    refusalOf(withWholeMatrices(architecture), dialect as DialectName | undefined),
  async write(given, folder, options) {
    const source = { ...given, checkpoint: multiplied(given.checkpoint) };
    const { checkpoint, files } = source;
    const dialect = (options.dialect as DialectName | undefined) ?? dialectFor(checkpoint.architecture)!;
    const tokenizer = await checkpoint.tokenizer();
    const generation = files.get('generation_config.json') ?? generationConfig(tokenizer);
    const config = configOf(checkpoint.architecture, dialect, options.dtype, endsOf(generation));
    const [architecture] = config.architectures as readonly [string];
    const texts = new Map([
      ...files,
      ['config.json', json(config)],
      ['generation_config.json', generation],
      ...Object.entries(tokenizer.files()),
      ['README.md', files.get('README.md') ?? modelCard(source, dialect)],
    ]);
    for (const [name, text] of texts) await writeFile(join(folder, name), text);
    if (dialect === 'nemotron-nas') {
      for (const name of remoteCode) await copyFile(join(templates, name), join(folder, name));
    }
    await writeShards(folder, counted(tensorsOf(source, options.dtype), options.report), options.shardBytes);
    return { architecture, dialect, notes: multiplicationNotes(given.checkpoint.architecture) };
  },
};

/** What transformers and vLLM load the dialect's config, and transformers its model, with; `trust_remote_code`. */
const remoteCode = ['configuration_decilm.py', 'modeling_decilm.py'];
const templates = fileURLToPath(new URL('../../templates/nemotron-nas', import.meta.url));

const json = (content: unknown): string => `${JSON.stringify(content, undefined, 2)}\n`;

/** Where a text starts and ends, as far as the tokenizer says. */
function generationConfig(tokenizer: Tokenizer): string {
  const files = tokenizer.files();
  const { bos, eos, pad } = specialIds(files['tokenizer_config.json'], JSON.parse(files['tokenizer.json']));
  return json({ bos_token_id: bos, eos_token_id: eos, pad_token_id: pad });
}

function endsOf(generation: string): SpecialTokens {
  const { bos_token_id: bos, eos_token_id: eos } = JSON.parse(generation) as Record<string, never>;
  return { bos, eos };
}

function tensorsOf({ checkpoint }: ExportSource, dtype: ExportDtype): readonly StoredTensor[] {
  const encoding = ({ f32: 'F32', f16: 'F16', bf16: 'BF16' } as const)[dtype as 'f32' | 'f16' | 'bf16'];
  const stored = (tensor: StoredTensor, name: string): StoredTensor => ({ ...tensor, name, encoding });
  const ofStream = (weight: StreamWeight): StoredTensor[] => {
    const tensor = checkpoint.stream[weight];
    return tensor === undefined ? [] : [stored(tensor, streamWeightNames.huggingFace[weight])];
  };
  const ofSlots = checkpoint.architecture.slots.flatMap((slot, index) =>
    Object.entries(checkpoint.slot(index)).map(([weight, tensor]) =>
      stored(tensor, slotWeightName('huggingFace', index, slot, weight)),
    ),
  );
  return [...ofStream('embedding'), ...ofSlots, ...ofStream('norm'), ...ofStream('head')];
}

/** One file, or several of at most `shardBytes` with an index, as Hugging Face's tools name them. */
async function writeShards(
  folder: string,
  tensors: readonly StoredTensor[],
  shardBytes: number,
): Promise<void> {
  const shards = split(tensors, shardBytes);
  const nameOf = (index: number): string =>
    shards.length === 1
      ? 'model.safetensors'
      : `model-${five(index + 1)}-of-${five(shards.length)}.safetensors`;
  for (const [index, shard] of shards.entries())
    await writeSafetensors(join(folder, nameOf(index)), shard, { format: 'pt' });
  if (shards.length === 1) return;
  const index = {
    metadata: { total_size: tensors.reduce((sum, tensor) => sum + bytesOf(tensor), 0) },
    weight_map: Object.fromEntries(
      shards.flatMap((shard, i) => shard.map(({ name }) => [name, nameOf(i)] as const)),
    ),
  };
  await writeFile(join(folder, 'model.safetensors.index.json'), json(index));
}

const five = (number: number): string => String(number).padStart(5, '0');

const bytesOf = ({ shape, encoding }: StoredTensor): number =>
  elementCount(shape) * (encoding === 'F32' ? 4 : 2);

/** In order, a new shard where the last one would grow too large; a tensor is never cut. */
function split(tensors: readonly StoredTensor[], shardBytes: number): readonly (readonly StoredTensor[])[] {
  const shards: StoredTensor[][] = [[]];
  let bytes = 0;
  for (const tensor of tensors) {
    if (bytes > 0 && bytes + bytesOf(tensor) > shardBytes) {
      shards.push([]);
      bytes = 0;
    }
    shards.at(-1)!.push(tensor);
    bytes += bytesOf(tensor);
  }
  return shards;
}
