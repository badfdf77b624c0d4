/** `config.json` of a Llama, Mistral or Qwen like any other: all layers are alike. */
import { sameBlock } from '../blocks/index.ts';
import { families, type BlockConfig } from '../model/index.ts';
import type { Dialect } from './hf-dialect.ts';
import {
  familyOf,
  firstRefusal,
  isGqa,
  isSwiglu,
  type Gqa,
  type Layer,
  type PlacedSlot,
  type Swiglu,
} from './layers.ts';

const notAlike = 'in it all layers are alike';

/** A Llama, Mistral or Qwen like any other. */
export const plain: Dialect = {
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

const modelClasses: Readonly<Record<string, string>> = {
  llama: 'LlamaForCausalLM',
  mistral: 'MistralForCausalLM',
  qwen2: 'Qwen2ForCausalLM',
  qwen3: 'Qwen3ForCausalLM',
};

const withoutWindow = ({ window: _, ...block }: Gqa): BlockConfig => block as BlockConfig;

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
