/** `config.json` of a Hugging Face folder, uniform or heterogeneous, in any dialect that we know. */
import { parseJson } from '../util/json.ts';
import type { Architecture } from './architecture.ts';
import { parseHuggingFaceConfig } from './huggingface-config.ts';
import { parseNemotronNasConfig } from './nemotron-nas.ts';
import { withPerLayerConfig } from './per-layer-config.ts';

/** Throws `file-invalid` or `unsupported-model` naming the field of `path` at fault. */
export function parseModelConfig(text: string, path: string): Architecture {
  const value = parseJson(text, path) as { readonly model_type?: unknown } | null;
  if (value?.model_type === 'nemotron-nas') return parseNemotronNasConfig(text, path);
  return withPerLayerConfig(value, parseHuggingFaceConfig(text, path), path);
}
