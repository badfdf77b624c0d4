/** Opens a model from whatever holds one: Hugging Face folder, GGUF file, student folder, results of a run. */
import { stat } from 'node:fs/promises';
import { join } from 'node:path';
import { openGguf, openSafetensorsFolder, readText } from '../tensor/index.ts';
import { PuzzleError } from '../util/errors.ts';
import { parseJson } from '../util/json.ts';
import { parseArchitecture } from './architecture-file.ts';
import { createCheckpoint, type Checkpoint } from './checkpoint.ts';
import { readGgufConfig, ropeFactorsName } from './gguf-config.ts';
import { ggufTokenizer } from './gguf-tokenizer.ts';
import { contentIdentity } from './identity.ts';
import { parseModelConfig } from './model-config.ts';
import { isTurned, neighboursToHalves } from './rope-order.ts';
import { createTokenizer, type Tokenizer } from './tokenizer.ts';
import type { Naming } from './weight-names.ts';

/**
 * Opens the model at `path`: a `.gguf` file, a folder with `config.json` (Hugging Face), one with `architecture.json`
 * and weights (a student), or the folder of a run, which has its student in `student/`.
 * Throws `file-missing`, `file-truncated`, `file-invalid`, `unsupported-model`, `unsupported-quantisation`,
 * `weights-missing`, `weights-shape`.
 */
export async function openModel(path: string): Promise<Checkpoint> {
  if (await isFile(path)) return openGgufModel(path);
  if (await isFile(join(path, 'config.json'))) return openHuggingFace(path);
  if (await isFile(join(path, 'student', 'architecture.json'))) return openStudent(join(path, 'student'));
  if (await isFile(join(path, 'architecture.json'))) return openStudent(path);
  throw new PuzzleError('file-missing', `There is no model at ${path}.`, {
    at: path,
    fix: 'Name a .gguf file, a folder with config.json and safetensors, or the results folder of a finished run.',
  });
}

async function isFile(path: string): Promise<boolean> {
  try {
    return (await stat(path)).isFile();
  } catch {
    return false;
  }
}

async function openGgufModel(path: string): Promise<Checkpoint> {
  const file = await openGguf(path);
  try {
    const { architecture, pairsNeighbours, idle } = await readGgufConfig(file, path);
    return createCheckpoint({
      path,
      architecture,
      identity: await contentIdentity([path]),
      file,
      naming: 'gguf',
      ignored: new RegExp(['^(?:', [`${ropeFactorsName}$`, ...idle].join('|'), ')'].join('')),
      ...(pairsNeighbours && {
        adapt: (tensor, { block }, weight) =>
          isTurned(weight) ? neighboursToHalves(tensor, Number(block.headDim)) : tensor,
      }),
      openTokenizer: async () => ggufTokenizer(file.metadata, path),
    });
  } catch (error) {
    await file.close();
    throw error;
  }
}

/** Buffers of older checkpoints that follow from the config, and the copy that tied heads are saved as. */
const huggingFaceLeftovers = /rotary_emb\.inv_freq$|^lm_head\.weight$/;

const openHuggingFace = (folder: string): Promise<Checkpoint> =>
  openFolder(folder, 'config.json', 'huggingFace', parseModelConfig, huggingFaceLeftovers);

const openStudent = (folder: string): Promise<Checkpoint> =>
  openFolder(folder, 'architecture.json', 'own', parseArchitecture);

async function openFolder(
  folder: string,
  configName: string,
  naming: Naming,
  parse: typeof parseArchitecture,
  ignored?: RegExp,
): Promise<Checkpoint> {
  const configPath = join(folder, configName);
  const text = await readText(configPath);
  const architecture = parse(text, configPath);
  const file = await openSafetensorsFolder(folder);
  try {
    const tokenizerPath = join(folder, 'tokenizer.json');
    const tokenizerFiles = (await isFile(tokenizerPath)) ? [tokenizerPath] : [];
    return createCheckpoint({
      path: folder,
      architecture,
      identity: await contentIdentity([configPath, ...file.paths, ...tokenizerFiles]),
      file,
      naming,
      ...(ignored !== undefined && { ignored }),
      openTokenizer: () => openTokenizerFolder(folder),
    });
  } catch (error) {
    await file.close();
    throw error;
  }
}

/** The tokenizer of a Hugging Face or student folder; tokenizer_config.json may be absent. */
async function openTokenizerFolder(folder: string): Promise<Tokenizer> {
  const path = join(folder, 'tokenizer.json');
  if (!(await isFile(path))) {
    throw new PuzzleError('file-missing', `There is no tokenizer.json in ${folder}.`, {
      at: path,
      fix: 'Add it; transformers writes it with AutoTokenizer.from_pretrained(...).save_pretrained(...).',
    });
  }
  const text = await readText(path);
  const configPath = join(folder, 'tokenizer_config.json');
  const config = (await isFile(configPath)) ? await readText(configPath) : '{}\n';
  return createTokenizer(parseJson(text, path), path, () => ({
    'tokenizer.json': text,
    'tokenizer_config.json': config,
  }));
}
