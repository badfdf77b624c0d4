/** What the weights of a model are called in each kind of file, and what shapes they have. */
import type { Shape } from '../tensor/index.ts';
import { PuzzleError } from '../util/errors.ts';
import type { BlockConfig, Slot, SlotKind, StreamConfig } from './architecture.ts';

/** Hugging Face folders and GGUF files speak of layers; ours of slots. */
export type Naming = 'huggingFace' | 'gguf' | 'own';

/** A teacher's attention, as `src/blocks/gqa.ts` describes it. */
export interface TeacherAttention extends BlockConfig {
  readonly kind: 'gqa';
  readonly heads: number;
  readonly kvHeads: number;
  readonly headDim: number;
}

/** A teacher's FFN, as `src/blocks/swiglu.ts` describes it. */
export interface TeacherFfn extends BlockConfig {
  readonly kind: 'swiglu';
  readonly width: number;
}

type LayerNaming = Exclude<Naming, 'own'>;
type LayerNames = Readonly<Record<string, Readonly<Partial<Record<LayerNaming, string>>>>>;

/** By our blocks' names, the names within a layer. One matrix for a sub-layer is called as nemotron-nas and deci do. */
const layerNames: Readonly<Record<SlotKind, LayerNames>> = {
  attention: {
    norm: { huggingFace: 'input_layernorm.weight', gguf: 'attn_norm.weight' },
    q: { huggingFace: 'self_attn.q_proj.weight', gguf: 'attn_q.weight' },
    k: { huggingFace: 'self_attn.k_proj.weight', gguf: 'attn_k.weight' },
    v: { huggingFace: 'self_attn.v_proj.weight', gguf: 'attn_v.weight' },
    o: { huggingFace: 'self_attn.o_proj.weight', gguf: 'attn_output.weight' },
    qBias: { huggingFace: 'self_attn.q_proj.bias', gguf: 'attn_q.bias' },
    kBias: { huggingFace: 'self_attn.k_proj.bias', gguf: 'attn_k.bias' },
    vBias: { huggingFace: 'self_attn.v_proj.bias', gguf: 'attn_v.bias' },
    qNorm: { huggingFace: 'self_attn.q_norm.weight', gguf: 'attn_q_norm.weight' },
    kNorm: { huggingFace: 'self_attn.k_norm.weight', gguf: 'attn_k_norm.weight' },
    linear: { huggingFace: 'self_attn.linear_attn.weight', gguf: 'attn_output.weight' },
  },
  ffn: {
    norm: { huggingFace: 'post_attention_layernorm.weight', gguf: 'ffn_norm.weight' },
    gate: { huggingFace: 'mlp.gate_proj.weight', gguf: 'ffn_gate.weight' },
    up: { huggingFace: 'mlp.up_proj.weight', gguf: 'ffn_up.weight' },
    down: { huggingFace: 'mlp.down_proj.weight', gguf: 'ffn_down.weight' },
    linear: { huggingFace: 'mlp.linear_mlp.weight' },
  },
};

const layerPrefix: Readonly<Record<LayerNaming, (layer: number) => string>> = {
  huggingFace: (layer) => `model.layers.${layer}.`,
  gguf: (layer) => `blk.${layer}.`,
};

/** The name of a slot's weight: `model.layers.3.mlp.up_proj.weight`, `blk.3.ffn_up.weight`, `slots.7.up`. */
export function slotWeightName(naming: Naming, slotIndex: number, slot: Slot, weight: string): string {
  if (naming === 'own') return `slots.${slotIndex}.${weight}`;
  const name = layerNames[slot.kind][weight]?.[naming];
  if (name === undefined) throw new RangeError(`${slot.kind} weights of that format know no ${weight}`);
  return layerPrefix[naming](slot.layer) + name;
}

export type StreamWeight = 'embedding' | 'norm' | 'head';

/** Names of the weights that belong to no slot. */
export const streamWeightNames: Readonly<Record<Naming, Readonly<Record<StreamWeight, string>>>> = {
  huggingFace: {
    embedding: 'model.embed_tokens.weight',
    norm: 'model.norm.weight',
    head: 'lm_head.weight',
  },
  gguf: { embedding: 'token_embd.weight', norm: 'output_norm.weight', head: 'output.weight' },
  own: { embedding: 'stream.embedding', norm: 'stream.norm', head: 'stream.head' },
};

/** Shapes of a teacher's weights by our blocks' names; undefined for a block that teachers do not have. */
export function teacherShapes(
  block: BlockConfig,
  { hidden }: StreamConfig,
): Readonly<Record<string, Shape>> | undefined {
  if (isAttention(block)) {
    const { heads, kvHeads, headDim, qkvBias, qkNorm } = block;
    return {
      norm: [hidden],
      q: [heads * headDim, hidden],
      k: [kvHeads * headDim, hidden],
      v: [kvHeads * headDim, hidden],
      o: [hidden, heads * headDim],
      ...(qkvBias === true && {
        qBias: [heads * headDim],
        kBias: [kvHeads * headDim],
        vBias: [kvHeads * headDim],
      }),
      ...(qkNorm === true && { qNorm: [headDim], kNorm: [headDim] }),
    };
  }
  if (isFfn(block)) {
    const { width } = block;
    return { norm: [hidden], gate: [width, hidden], up: [width, hidden], down: [hidden, width] };
  }
  return undefined;
}

/**
 * Shapes of the weights that formats by layers have for a block: a teacher's, one matrix, or none.
 * @throws PuzzleError `unsupported-model`
 */
export function layerShapes(
  block: BlockConfig,
  stream: StreamConfig,
  path: string,
): Readonly<Record<string, Shape>> {
  if (block.kind === 'no-op') return {};
  if (block.kind === 'linear') return { norm: [stream.hidden], linear: [stream.hidden, stream.hidden] };
  const shapes = teacherShapes(block, stream);
  if (shapes !== undefined) return shapes;
  throw new PuzzleError('unsupported-model', `${path} cannot hold a block of kind ${block.kind}.`, {
    at: path,
    value: block,
  });
}

/** Shapes of the weights that belong to no slot; no head where it is the embedding. */
export const streamShapes = ({
  vocabularySize,
  hidden,
  tiedEmbeddings,
}: StreamConfig): Readonly<Partial<Record<StreamWeight, Shape>>> => ({
  embedding: [vocabularySize, hidden],
  norm: [hidden],
  ...(!tiedEmbeddings && { head: [vocabularySize, hidden] }),
});

const isAttention = (block: BlockConfig): block is TeacherAttention => block.kind === 'gqa';
const isFfn = (block: BlockConfig): block is TeacherFfn => block.kind === 'swiglu';
