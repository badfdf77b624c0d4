/** What a model is: a residual stream and a list of slots, each holding one block. */

/** RoPE frequency scaling of Llama 3 (config.json `rope_scaling`, rope_type `llama3`). */
export interface RopeScaling {
  readonly factor: number;
  readonly lowFrequencyFactor: number;
  readonly highFrequencyFactor: number;
  readonly originalContextLength: number;
}

/** The parts of a model that belong to the stream, not to any slot. */
export interface StreamConfig {
  /** Name of the family in `families.ts`: `llama`, `qwen2`, `qwen3`, ... */
  readonly family: string;
  readonly vocabularySize: number;
  /** Width of the residual stream. */
  readonly hidden: number;
  readonly normEpsilon: number;
  readonly ropeTheta: number;
  readonly ropeScaling?: RopeScaling;
  /** Whether the head is the embedding matrix; tied weights count once. */
  readonly tiedEmbeddings: boolean;
  readonly contextLength: number;
}

/**
 * What stands in a slot. `kind` names a block of the registry in `src/blocks`, whose schema checks the rest.
 * Open on purpose: a new block adds its own fields in its own file.
 */
export interface BlockConfig {
  readonly kind: string;
  readonly [field: string]: string | number | boolean;
}

export type SlotKind = 'attention' | 'ffn';

/** One place in the model where a block adds to the stream. */
export interface Slot {
  /** The layer it belongs to in formats that speak of layers. */
  readonly layer: number;
  readonly kind: SlotKind;
  readonly block: BlockConfig;
}

/** A model without its weights. A teacher is the case where all layers are alike. */
export interface Architecture {
  readonly stream: StreamConfig;
  /** In the order in which they add to the stream. */
  readonly slots: readonly Slot[];
}
