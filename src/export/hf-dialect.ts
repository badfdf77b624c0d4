/** What a dialect of `config.json` is, and what those of a Llama with other layers share. */
import type { Architecture } from '../model/index.ts';
import type { Refusal } from './exporter.ts';
import { isGqa, isSwiglu, type Gqa, type Layer, type PlacedSlot } from './layers.ts';

export type Json = Readonly<Record<string, unknown>>;

export interface Dialect {
  refuses(architecture: Architecture, layers: readonly Layer[]): Refusal | undefined;
  /** Of a model that it refuses nothing of. */
  config(architecture: Architecture, layers: readonly Layer[], shared: Json): Json;
}

/** Why a block is not one of a Llama's. */
export function notLlama({ kind, block }: PlacedSlot, first: Gqa | undefined): string | undefined {
  if (kind === 'ffn') return isSwiglu(block) ? undefined : 'it is no gated FFN';
  if (!isGqa(block)) return 'it is no grouped-query attention';
  if (block.qkvBias === true) return 'its attention has no biases';
  if (block.qkNorm === true) return 'it norms no query and key heads';
  if (block.window !== undefined) return 'it has no sliding window';
  if (block.headDim !== first!.headDim) return 'it has one head size for all layers';
  return undefined;
}

/** The first attention of a teacher's kind. */
export const firstGqa = (layers: readonly Layer[]): Gqa | undefined =>
  layers.map(({ attention }) => attention.block).find(isGqa);
