/** Model families as data: what sets one apart from the others, everything else being the same Llama-like model. */

export interface Family {
  /** `general.architecture` of its GGUF files. */
  readonly gguf: string;
  /** Whether GGUF files order the rows of Q and K so that RoPE turns neighbours instead of halves. */
  readonly ggufPairsNeighbours: boolean;
  /** Biases on the q, k and v projections. */
  readonly qkvBias: boolean;
  /** RMSNorm over each query and key head. */
  readonly qkNorm: boolean;
  /** Which layers `sliding_window` of config.json applies to. */
  readonly slidingLayers: 'none' | 'all' | 'after-max-window-layers';
}

/** By `model_type` of config.json. Of families that share a GGUF architecture, the first is what GGUF files open as. */
export const families: Readonly<Record<string, Family>> = {
  llama: {
    gguf: 'llama',
    ggufPairsNeighbours: true,
    qkvBias: false,
    qkNorm: false,
    slidingLayers: 'none',
  },
  mistral: {
    gguf: 'llama',
    ggufPairsNeighbours: true,
    qkvBias: false,
    qkNorm: false,
    slidingLayers: 'all',
  },
  qwen2: {
    gguf: 'qwen2',
    ggufPairsNeighbours: false,
    qkvBias: true,
    qkNorm: false,
    slidingLayers: 'after-max-window-layers',
  },
  qwen3: {
    gguf: 'qwen3',
    ggufPairsNeighbours: false,
    qkvBias: false,
    qkNorm: true,
    slidingLayers: 'after-max-window-layers',
  },
};
