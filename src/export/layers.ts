/** Slots as the layers that files speak of: an attention and an FFN each, in this order. */
import { sameBlock } from '../blocks/index.ts';
import type { Architecture, BlockConfig, Slot } from '../model/index.ts';
import type { Refusal } from './exporter.ts';

/** A slot and its place in the model. */
export interface PlacedSlot extends Slot {
  readonly index: number;
}

export interface Layer {
  readonly attention: PlacedSlot;
  readonly ffn: PlacedSlot;
}

/** The layers in order; a refusal where the slots are none. */
export function layersOf({ slots }: Architecture): readonly Layer[] | Refusal {
  const layers: Layer[] = [];
  for (let index = 0; index < slots.length; index += 2) {
    const [attention, ffn] = [slots[index]!, slots[index + 1]];
    const isLayer =
      attention.kind === 'attention' &&
      ffn?.kind === 'ffn' &&
      [attention, ffn].every(({ layer }) => layer === index / 2);
    if (!isLayer)
      return { slot: attention, reason: 'its layers are one attention and one FFN each, in this order' };
    layers.push({ attention: { ...attention, index }, ffn: { ...ffn, index: index + 1 } });
  }
  return layers;
}

export const isRefusal = (value: object): value is Refusal => 'reason' in value;

/** A teacher's attention, as `src/blocks/gqa.ts` describes it. */
export interface Gqa extends BlockConfig {
  readonly kind: 'gqa';
  readonly heads: number;
  readonly kvHeads: number;
  readonly headDim: number;
  readonly qkvBias?: true;
  readonly qkNorm?: true;
  readonly window?: number;
}

/** A gated FFN, as `src/blocks/swiglu.ts` describes it. */
export interface Swiglu extends BlockConfig {
  readonly kind: 'swiglu';
  readonly width: number;
}

export const isGqa = (block: BlockConfig): block is Gqa => block.kind === 'gqa';
export const isSwiglu = (block: BlockConfig): block is Swiglu => block.kind === 'swiglu';

/** The family of a model of such attention alone. */
export const familyOf = ({ qkvBias, qkNorm }: Gqa): string =>
  qkNorm === true ? 'qwen3' : qkvBias === true ? 'qwen2' : 'llama';

/** The one attention and the one FFN of a model whose layers are all alike; undefined for any other. */
export function uniformBlocks(layers: readonly Layer[]): { attention: Gqa; ffn: Swiglu } | undefined {
  const [attention, ffn] = [layers[0]?.attention.block, layers[0]?.ffn.block];
  if (attention === undefined || ffn === undefined || !isGqa(attention) || !isSwiglu(ffn)) return undefined;
  const isAlike = layers.every(
    (layer) => sameBlock(layer.attention.block, attention) && sameBlock(layer.ffn.block, ffn),
  );
  return isAlike ? { attention, ffn } : undefined;
}

/** The first slot that `reasonOf` has a reason against, in the order of the model. */
export function firstRefusal(
  layers: readonly Layer[],
  reasonOf: (slot: PlacedSlot) => string | undefined,
): Refusal | undefined {
  for (const { attention, ffn } of layers) {
    for (const slot of [attention, ffn]) {
      const reason = reasonOf(slot);
      if (reason !== undefined) return { slot, reason };
    }
  }
  return undefined;
}
