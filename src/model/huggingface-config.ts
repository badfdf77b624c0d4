/** `config.json` of a Hugging Face folder -> architecture. */
import { z } from 'zod';
import { PuzzleError } from '../util/errors.ts';
import { checkAgainst, parseJson } from '../util/json.ts';
import type { Architecture, RopeScaling } from './architecture.ts';
import { families, type Family } from './families.ts';
import { teacherSlots } from './teacher-slots.ts';

const count = z.int().positive();
const positive = z.number().positive();

/** Loose: the file carries many fields that concern training or generation, not the model. */
const ropeSchema = z.looseObject({
  rope_type: z.string().optional(),
  /** The name of `rope_type` in older files. */
  type: z.string().optional(),
  rope_theta: positive.optional(),
  factor: positive.optional(),
  low_freq_factor: positive.optional(),
  high_freq_factor: positive.optional(),
  original_max_position_embeddings: count.optional(),
});

const configSchema = z.looseObject({
  model_type: z.string(),
  vocab_size: count,
  hidden_size: count,
  intermediate_size: count,
  num_hidden_layers: count,
  num_attention_heads: count,
  num_key_value_heads: count.nullish(),
  head_dim: count.nullish(),
  rms_norm_eps: positive.nullish(),
  rope_theta: positive.nullish(),
  rope_scaling: ropeSchema.nullish(),
  /** Holds theta and scaling together since transformers 5. */
  rope_parameters: ropeSchema.nullish(),
  tie_word_embeddings: z.boolean().nullish(),
  max_position_embeddings: count.nullish(),
  sliding_window: count.nullish(),
  use_sliding_window: z.boolean().nullish(),
  max_window_layers: z.int().nonnegative().nullish(),
  layer_types: z.array(z.enum(['full_attention', 'sliding_attention'])).nullish(),
  hidden_act: z.string().nullish(),
  attention_bias: z.boolean().nullish(),
  mlp_bias: z.boolean().nullish(),
  partial_rotary_factor: z.number().nullish(),
  quantization_config: z.unknown().optional(),
});
type Config = z.infer<typeof configSchema>;

/**
 * Reads the text of config.json; fields that it leaves out have transformers' defaults.
 * Throws `file-invalid` or `unsupported-model` naming the field of `path` at fault.
 */
export function parseHuggingFaceConfig(text: string, path: string): Architecture {
  const value = parseJson(text, path);
  const { model_type } = checkAgainst(z.looseObject({ model_type: z.string() }), value, path, modelTypeFix);
  const family = families[model_type];
  if (family === undefined) throw unsupported(path, 'model_type', model_type, modelTypeFix);
  const config = checkAgainst(configSchema, value, path, 'Download the file again.');
  refuseWhatWeDoNotCompute(config, path);
  const rope = { ...config.rope_scaling, ...config.rope_parameters };
  const ropeScaling = scalingOf(rope, path);
  const heads = config.num_attention_heads;
  const windows = slidingWindows(config, family);
  return {
    stream: {
      family: model_type,
      vocabularySize: config.vocab_size,
      hidden: config.hidden_size,
      normEpsilon: config.rms_norm_eps ?? 1e-6,
      ropeTheta: rope.rope_theta ?? config.rope_theta ?? 10000,
      ...(ropeScaling !== undefined && { ropeScaling }),
      tiedEmbeddings: config.tie_word_embeddings ?? false,
      contextLength: config.max_position_embeddings ?? 2048,
    },
    slots: teacherSlots(config.num_hidden_layers, (layer) => ({
      heads,
      kvHeads: config.num_key_value_heads ?? heads,
      headDim: config.head_dim ?? config.hidden_size / heads,
      family,
      window: windows(layer),
      width: config.intermediate_size,
    })),
  };
}

const modelTypeFix = `Use a model of one of these families: ${Object.keys(families).join(', ')}.`;

const unsupported = (path: string, field: string, value: unknown, fix: string): PuzzleError =>
  new PuzzleError('unsupported-model', `${path}: ${field} ${JSON.stringify(value)} is not supported.`, {
    at: `${path}: ${field}`,
    value,
    fix,
  });

const plainFix = 'Use a model without it.';

function refuseWhatWeDoNotCompute(config: Config, path: string): void {
  if ((config.hidden_act ?? 'silu') !== 'silu')
    throw unsupported(path, 'hidden_act', config.hidden_act, plainFix);
  if (config.attention_bias === true) throw unsupported(path, 'attention_bias', true, plainFix);
  if (config.mlp_bias === true) throw unsupported(path, 'mlp_bias', true, plainFix);
  if ((config.partial_rotary_factor ?? 1) !== 1) {
    throw unsupported(path, 'partial_rotary_factor', config.partial_rotary_factor, plainFix);
  }
  if (config.quantization_config !== undefined) {
    const fix = 'Use the unquantised checkpoint, or a GGUF file.';
    throw unsupported(path, 'quantization_config', config.quantization_config, fix);
  }
  if (!Number.isInteger(config.head_dim ?? config.hidden_size / config.num_attention_heads)) {
    throw unsupported(path, 'num_attention_heads', config.num_attention_heads, 'Give head_dim.');
  }
}

function scalingOf(rope: z.infer<typeof ropeSchema>, path: string): RopeScaling | undefined {
  const type = rope.rope_type ?? rope.type ?? 'default';
  if (type === 'default') return undefined;
  const { factor, low_freq_factor, high_freq_factor, original_max_position_embeddings } = rope;
  if (
    type !== 'llama3' ||
    factor === undefined ||
    low_freq_factor === undefined ||
    high_freq_factor === undefined ||
    original_max_position_embeddings === undefined
  ) {
    throw unsupported(
      path,
      'rope_scaling',
      rope,
      'Use a model with plain RoPE or with complete llama3 scaling.',
    );
  }
  return {
    factor,
    lowFrequencyFactor: low_freq_factor,
    highFrequencyFactor: high_freq_factor,
    originalContextLength: original_max_position_embeddings,
  };
}

/** The sliding window of each layer. */
function slidingWindows(config: Config, { slidingLayers }: Family): (layer: number) => number | undefined {
  const { layer_types, max_window_layers } = config;
  const window = config.sliding_window ?? undefined;
  if (layer_types) return (layer) => (layer_types[layer] === 'sliding_attention' ? window : undefined);
  if (slidingLayers === 'none') return () => undefined;
  if (slidingLayers === 'all') return () => window;
  return (layer) => (config.use_sliding_window && layer >= (max_window_layers ?? 28) ? window : undefined);
}
