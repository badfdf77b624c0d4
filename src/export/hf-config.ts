/** `config.json` of a model, in each dialect that Hugging Face folders of such models are written in. */
import { sameBlock } from '../blocks/index.ts';
import {
  families,
  widthOfMultiplier,
  type Architecture,
  type BlockConfig,
  type RopeScaling,
} from '../model/index.ts';
import type { ExportDtype, Refusal } from './exporter.ts';
import {
  familyOf,
  firstRefusal,
  isGqa,
  isRefusal,
  isSwiglu,
  layersOf,
  type Gqa,
  type Layer,
  type PlacedSlot,
  type Swiglu,
} from './layers.ts';

type Json = Readonly<Record<string, unknown>>;

/** Ids of special tokens; a model may end a text with any of several. */
export interface SpecialTokens {
  readonly bos?: number | undefined;
  readonly eos?: number | readonly number[] | undefined;
}

export interface Dialect {
  refuses(architecture: Architecture, layers: readonly Layer[]): Refusal | undefined;
  /** Of a model that it refuses nothing of. */
  config(architecture: Architecture, layers: readonly Layer[], shared: Json): Json;
}

/** The plainest first: what is asked for when nobody says. */
export const dialects = {
  plain: plain(),
  'nemotron-nas': nemotronNas(),
  'per-layer-config': perLayerConfig(),
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

const notAlike = 'in it all layers are alike';

/** A Llama, Mistral or Qwen like any other. */
function plain(): Dialect {
  const withoutWindow = ({ window: _, ...block }: Gqa): BlockConfig => block as BlockConfig;
  return {
    refuses(_, layers) {
      const [attention, ffn] = [layers[0]!.attention.block, layers[0]!.ffn.block];
      if (!isGqa(attention)) return { slot: layers[0]!.attention, reason: notAlike };
      const isAlike = ({ kind, block }: PlacedSlot): boolean =>
        kind === 'ffn'
          ? isSwiglu(block) && sameBlock(block, ffn)
          : isGqa(block) && sameBlock(withoutWindow(block), withoutWindow(attention));
      return (
        firstRefusal(layers, (slot) => (isAlike(slot) ? undefined : notAlike)) ??
        firstRefusal(layers, (slot) =>
          isWindowKnown(slot, layers) ? undefined : 'no such model has this window',
        )
      );
    },
    config({ stream }, layers, shared) {
      const attention = layers[0]!.attention.block as Gqa;
      const { width } = layers[0]!.ffn.block as Swiglu;
      const windows = layers.map(({ attention: { block } }) => (block as Gqa).window);
      const window = windows.find((found) => found !== undefined);
      const model = plainModel(attention, stream.family, window);
      return {
        architectures: [modelClasses[model]],
        model_type: model,
        ...shared,
        intermediate_size: width,
        num_attention_heads: attention.heads,
        num_key_value_heads: attention.kvHeads,
        head_dim: attention.headDim,
        ...(model === 'mistral' && { sliding_window: window ?? null }),
        ...(window !== undefined &&
          model !== 'mistral' && {
            use_sliding_window: true,
            sliding_window: window,
            layer_types: windows.map((own) => (own === undefined ? 'full_attention' : 'sliding_attention')),
          }),
      };
    },
  };
}

const modelClasses: Readonly<Record<string, string>> = {
  llama: 'LlamaForCausalLM',
  mistral: 'MistralForCausalLM',
  qwen2: 'Qwen2ForCausalLM',
  qwen3: 'Qwen3ForCausalLM',
};

/** A Mistral stays one; any Llama with a window is one. */
function plainModel(attention: Gqa, family: string, window: number | undefined): string {
  const model = familyOf(attention);
  return model === 'llama' && (window !== undefined || family === 'mistral') ? 'mistral' : model;
}

/** A Mistral has one window in all layers, a Qwen in some; all of the same size. */
function isWindowKnown({ block }: PlacedSlot, layers: readonly Layer[]): boolean {
  if (!isGqa(block)) return true;
  const windows = layers.map(({ attention }) => (attention.block as Gqa).window);
  const first = windows.find((found) => found !== undefined);
  if (block.window !== undefined && block.window !== first) return false;
  const { slidingLayers } = families[plainModel(block, 'llama', first)]!;
  return slidingLayers !== 'all' || windows.every((window) => window === first);
}

/** Why a block is not one of a Llama's. */
function notLlama({ kind, block }: PlacedSlot, first: Gqa | undefined): string | undefined {
  if (kind === 'ffn') return isSwiglu(block) ? undefined : 'it is no gated FFN';
  if (!isGqa(block)) return 'it is no grouped-query attention';
  if (block.qkvBias === true) return 'its attention has no biases';
  if (block.qkNorm === true) return 'it norms no query and key heads';
  if (block.window !== undefined) return 'it has no sliding window';
  if (block.headDim !== first!.headDim) return 'it has one head size for all layers';
  return undefined;
}

const firstGqa = (layers: readonly Layer[]): Gqa | undefined =>
  layers.map(({ attention }) => attention.block).find(isGqa);

/**
 * The published form of such models (nvidia/Llama-3_3-Nemotron-Super-49B-v1): fields and their order are theirs. Where
 * no `ffn_mult` gives the width, `intermediate_size` stands in its place, which vLLM reads.
 */
function nemotronNas(): Dialect {
  return {
    refuses(_, layers) {
      const first = firstGqa(layers);
      return firstRefusal(layers, (slot) => {
        const { block } = slot;
        if (block.kind === 'no-op' || block.kind === 'linear') return undefined;
        if (isGqa(block) && block.heads !== first!.heads) return 'it has as many query heads in every layer';
        return notLlama(slot, first);
      });
    },
    config({ stream }, layers, shared) {
      const { heads = 1, headDim = stream.hidden } = firstGqa(layers) ?? {};
      return {
        architectures: ['DeciLMForCausalLM'],
        model_type: 'nemotron-nas',
        auto_map: {
          AutoConfig: 'configuration_decilm.DeciLMConfig',
          AutoModelForCausalLM: 'modeling_decilm.DeciLMForCausalLM',
        },
        ...shared,
        intermediate_size: null,
        num_attention_heads: heads,
        num_key_value_heads: null,
        ...(headDim * heads !== stream.hidden && { head_dim: headDim }),
        block_configs: layers.map(({ attention, ffn }) => ({
          attention: {
            n_heads_in_group: isGqa(attention.block) ? attention.block.heads / attention.block.kvHeads : null,
            no_op: attention.block.kind === 'no-op',
            num_sink_tokens: null,
            replace_with_linear: attention.block.kind === 'linear',
            sparsify: null,
            unshifted_sink: false,
            use_prefill_window_in_sink_attention: false,
            window_length: null,
          },
          ffn: {
            ...(isSwiglu(ffn.block) ? widthField(ffn.block.width, stream.hidden) : { ffn_mult: null }),
            no_op: ffn.block.kind === 'no-op',
            replace_with_linear: ffn.block.kind === 'linear',
            sparsify: null,
          },
        })),
      };
    },
  };
}

/** The roundest multiplier of a width, as published ones are: a whole or a half where one gives it, else the exact one. */
function widthField(width: number, hidden: number): Json {
  const exact = (3 * width) / (2 * hidden);
  const multiplier = [Math.floor(2 * exact) / 2, exact].find(
    (candidate) => candidate > 0 && widthOfMultiplier(candidate, hidden) === width,
  );
  return multiplier === undefined ? { intermediate_size: width } : { ffn_mult: multiplier };
}

/** A Llama of recent transformers some of whose layers differ, or lack a part. */
function perLayerConfig(): Dialect {
  return {
    refuses(_, layers) {
      const first = firstGqa(layers);
      if (first === undefined) return { slot: layers[0]!.attention, reason: 'no layer has attention' };
      if (!layers.some(({ ffn }) => isSwiglu(ffn.block)))
        return { slot: layers[0]!.ffn, reason: 'no layer has an FFN' };
      return firstRefusal(layers, (slot) =>
        slot.block.kind === 'no-op' ? undefined : notLlama(slot, first),
      );
    },
    config(_, layers, shared) {
      const attentions = layers.map(({ attention }) => attention.block).filter(isGqa);
      const base = {
        intermediate_size: commonest(
          layers
            .map(({ ffn }) => ffn.block)
            .filter(isSwiglu)
            .map(({ width }) => width),
        ),
        num_attention_heads: commonest(attentions.map(({ heads }) => heads)),
        num_key_value_heads: commonest(attentions.map(({ kvHeads }) => kvHeads)),
      };
      const digits = String(layers.length - 1).length;
      const own = layers.map((layer) =>
        Object.entries(fieldsOf(layer)).filter(([field, value]) => value !== base[field as never]),
      );
      return {
        architectures: [modelClasses.llama],
        model_type: 'llama',
        ...shared,
        ...base,
        head_dim: attentions[0]!.headDim,
        per_layer_config: Object.fromEntries(
          own.flatMap((fields, layer) =>
            fields.length === 0 ? [] : [[String(layer).padStart(digits, '0'), Object.fromEntries(fields)]],
          ),
        ),
      };
    },
  };
}

function fieldsOf({ attention, ffn }: Layer): Json {
  const skip = [
    ...(attention.block.kind === 'no-op' ? ['attention'] : []),
    ...(ffn.block.kind === 'no-op' ? ['mlp'] : []),
  ];
  return {
    ...(isSwiglu(ffn.block) && { intermediate_size: ffn.block.width }),
    ...(isGqa(attention.block) && {
      num_attention_heads: attention.block.heads,
      num_key_value_heads: attention.block.kvHeads,
    }),
    ...(skip.length > 0 && { skip }),
  };
}

/** The value that occurs most; the first of equals. */
function commonest(values: readonly number[]): number {
  const counts = new Map<number, number>();
  for (const value of values) counts.set(value, (counts.get(value) ?? 0) + 1);
  return [...counts].reduce((best, entry) => (entry[1] > best[1] ? entry : best))[0];
}
