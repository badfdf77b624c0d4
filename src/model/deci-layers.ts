/**
 * The layers of GGUF's `deci` architecture, in which llama.cpp runs heterogeneous models: `head_count` 0 is a layer
 * without attention, `head_count_kv` 0 one whose attention is a single matrix, `feed_forward_length` 0 one without FFN.
 *
 * Two combinations mean something else there, so files carry zeros in their place, which reading takes out again:
 * attention without an FFN (llama.cpp leaves the whole layer out) has an idle FFN, and a first layer without attention
 * (whose head count decides whether the model has RoPE at all) an idle matrix.
 */
import type { GgufFile } from '../tensor/index.ts';
import { PuzzleError } from '../util/errors.ts';
import type { BlockConfig, Slot, SlotKind } from './architecture.ts';

/** Channels of an idle FFN: a block of the quantised encodings, so that its matrices can be stored like any other. */
export const idleWidth = 32;

/** Sizes of one layer as the metadata has them. */
export interface DeciLayer {
  readonly heads: number;
  readonly kvHeads: number;
  readonly width: number;
}

export interface DeciSlots {
  readonly slots: readonly Slot[];
  /** Prefixes of the names of tensors that only stand in. */
  readonly idle: readonly string[];
}

/** Two slots per layer. Reads matrices only where they may be idle. */
export async function deciSlots(
  file: GgufFile,
  path: string,
  headDim: number,
  layers: readonly DeciLayer[],
): Promise<DeciSlots> {
  const slots: Slot[] = [];
  const idle: string[] = [];
  for (const [layer, sizes] of layers.entries()) {
    for (const kind of ['attention', 'ffn'] as const) {
      const matrix = idleCandidate(kind, layer, sizes);
      const isIdle = matrix !== undefined && (await isZero(file, matrix, path));
      if (isIdle) idle.push(`blk.${layer}.${kind === 'attention' ? 'attn' : 'ffn'}_`);
      const biased = file.tensors.has(`blk.${layer}.attn_q.bias`);
      slots.push({
        layer,
        kind,
        block: isIdle ? { kind: 'no-op' } : described(kind, sizes, headDim, biased),
      });
    }
  }
  return { slots, idle };
}

function described(
  kind: SlotKind,
  { heads, kvHeads, width }: DeciLayer,
  headDim: number,
  biased: boolean,
): BlockConfig {
  if (kind === 'ffn') return width === 0 ? { kind: 'no-op' } : { kind: 'swiglu', width };
  if (heads === 0) return { kind: 'no-op' };
  if (kvHeads === 0) return { kind: 'linear' };
  return { kind: 'gqa', heads, kvHeads, headDim, ...(biased && { qkvBias: true }) };
}

/** The output matrix of a sub-layer that may be there only for llama.cpp's sake. */
function idleCandidate(
  kind: SlotKind,
  layer: number,
  { heads, kvHeads, width }: DeciLayer,
): string | undefined {
  if (kind === 'ffn') return width === idleWidth ? `blk.${layer}.ffn_down.weight` : undefined;
  return layer === 0 && heads > 0 && kvHeads === 0 ? 'blk.0.attn_output.weight' : undefined;
}

async function isZero(file: GgufFile, name: string, path: string): Promise<boolean> {
  const stored = file.tensors.get(name);
  if (stored === undefined) {
    throw new PuzzleError('weights-missing', `${path} holds no ${name}.`, {
      at: `${path}: ${name}`,
      fix: 'Download or convert the file again.',
    });
  }
  return (await stored.load()).data.every((value) => value === 0);
}
