/** `config.json` of a model, in the dialects that Hugging Face folders of such models are written in. */
import type { Architecture, RopeScaling } from '../model/index.ts';
import type { ExportDtype, Refusal } from './exporter.ts';
import type { Dialect, Json } from './hf-dialect.ts';
import { nemotronNas } from './hf-nemotron-nas.ts';
import { perLayerConfig } from './hf-per-layer-config.ts';
import { plain } from './hf-plain.ts';
import { isRefusal, layersOf, type Layer } from './layers.ts';

/** Ids of special tokens; a model may end a text with any of several. */
export interface SpecialTokens {
  readonly bos?: number | undefined;
  readonly eos?: number | readonly number[] | undefined;
}

/** The plainest first: what is asked for when nobody says. */
export const dialects = {
  plain,
  'nemotron-nas': nemotronNas,
  'per-layer-config': perLayerConfig,
} as const satisfies Record<string, Dialect>;
export type DialectName = keyof typeof dialects;

/** The first block that a dialect, or else every one, has no words for. */
export function refusalOf(architecture: Architecture, name: DialectName | undefined): Refusal | undefined {
  const layers = layersOf(architecture);
  if (isRefusal(layers)) return layers;
  if (name !== undefined) return dialects[name].refuses(architecture, layers);
  if (dialectFor(architecture) !== undefined) return undefined;
  return dialects['nemotron-nas'].refuses(architecture, layers);
}

/** The plainest dialect that can express the model. */
export function dialectFor(architecture: Architecture): DialectName | undefined {
  const layers = layersOf(architecture);
  if (isRefusal(layers)) return undefined;
  return (Object.keys(dialects) as DialectName[]).find(
    (name) => dialects[name].refuses(architecture, layers) === undefined,
  );
}

/** The config of a model that the dialect refuses nothing of. */
export function configOf(
  architecture: Architecture,
  name: DialectName,
  dtype: ExportDtype,
  tokens: SpecialTokens,
): Json {
  const layers = layersOf(architecture) as readonly Layer[];
  const { stream } = architecture;
  return dialects[name].config(architecture, layers, {
    vocab_size: stream.vocabularySize,
    hidden_size: stream.hidden,
    num_hidden_layers: layers.length,
    hidden_act: 'silu',
    max_position_embeddings: stream.contextLength,
    rms_norm_eps: stream.normEpsilon,
    rope_theta: stream.ropeTheta,
    rope_scaling: stream.ropeScaling === undefined ? null : scaling(stream.ropeScaling),
    tie_word_embeddings: stream.tiedEmbeddings,
    attention_bias: false,
    attention_dropout: 0,
    mlp_bias: false,
    initializer_range: 0.02,
    pretraining_tp: 1,
    use_cache: true,
    bos_token_id: tokens.bos ?? null,
    eos_token_id: tokens.eos ?? null,
    torch_dtype: dtypeNames[dtype],
  });
}

const dtypeNames: Readonly<Partial<Record<ExportDtype, string>>> = {
  f32: 'float32',
  f16: 'float16',
  bf16: 'bfloat16',
};

const scaling = (rope: RopeScaling): Json => ({
  factor: rope.factor,
  high_freq_factor: rope.highFrequencyFactor,
  low_freq_factor: rope.lowFrequencyFactor,
  original_max_position_embeddings: rope.originalContextLength,
  rope_type: 'llama3',
});
