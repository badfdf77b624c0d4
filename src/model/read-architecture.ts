/** An architecture from its configuration alone: config.json (uniform or heterogeneous) or architecture.json. */
import { readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { PuzzleError } from '../util/errors.ts';
import { parseJson } from '../util/json.ts';
import { parseArchitecture } from './architecture-file.ts';
import type { Architecture } from './architecture.ts';
import { parseHuggingFaceConfig } from './huggingface-config.ts';
import { parseNemotronNasConfig } from './nemotron-nas.ts';

/**
 * Reads a file, or the config.json or architecture.json of a folder.
 * @throws PuzzleError `file-missing`, or what the reader of the format throws.
 */
export function readArchitecture(path: string): Architecture {
  const { text, file } = readConfig(path);
  const value = parseJson(text, file) as { readonly schema?: unknown; readonly model_type?: unknown } | null;
  if (value?.schema !== undefined) return parseArchitecture(text, file);
  if (value?.model_type === 'nemotron-nas') return parseNemotronNasConfig(text, file);
  return withPerLayerConfig(value, parseHuggingFaceConfig(text, file));
}

function readConfig(path: string): { readonly text: string; readonly file: string } {
  try {
    const files = statSync(path).isDirectory()
      ? ['architecture.json', 'config.json'].map((name) => join(path, name))
      : [path];
    const file =
      files.find((name) => statSync(name, { throwIfNoEntry: false }) !== undefined) ?? files.at(-1)!;
    return { text: readFileSync(file, 'utf8'), file };
  } catch (cause) {
    throw new PuzzleError('file-missing', `There is no architecture at ${path}.`, {
      at: path,
      fix: 'Give a config.json, an architecture.json, or a folder that holds one.',
      cause,
    });
  }
}

/** transformers' `per_layer_config`: fields that differ from the whole model's, by layer number. */
function withPerLayerConfig(value: unknown, uniform: Architecture): Architecture {
  const perLayer = (value as { per_layer_config?: Record<string, Record<string, number>> | null })
    .per_layer_config;
  if (perLayer === undefined || perLayer === null) return uniform;
  return {
    ...uniform,
    slots: uniform.slots.map((slot) => {
      const own = perLayer[slot.layer];
      if (own === undefined) return slot;
      const {
        intermediate_size: width,
        num_key_value_heads: kvHeads,
        num_attention_heads: heads,
        head_dim: headDim,
      } = own;
      const block =
        slot.kind === 'ffn'
          ? { ...slot.block, ...(width !== undefined && { width }) }
          : {
              ...slot.block,
              ...(kvHeads !== undefined && { kvHeads }),
              ...(heads !== undefined && { heads }),
              ...(headDim !== undefined && { headDim }),
            };
      return { ...slot, block };
    }),
  };
}
