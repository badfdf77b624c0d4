/** A small random model that holds every kind of block, with heads as wide as the fused kernel takes them. */
import type { Architecture, BlockConfig } from '../../src/model/index.ts';
import { uniformArchitecture } from '../blocks/architectures.ts';

const teacher = { kind: 'gqa', heads: 4, kvHeads: 2, headDim: 16 };

/** Every layer has another attention; caches differ in heads and width. */
const attentions: readonly BlockConfig[] = [
  teacher,
  { ...teacher, kvHeads: 1, window: 5 },
  { kind: 'linear' },
  { ...teacher, heads: 2, kvHeads: 2, headDim: 32, qkvBias: true, qkNorm: true },
  { kind: 'no-op' },
  { kind: 'low-rank', rank: 3 },
];
const ffns: readonly BlockConfig[] = [
  { kind: 'swiglu', width: 40 },
  { kind: 'linear' },
  { kind: 'no-op' },
  { kind: 'swiglu', width: 8 },
  { kind: 'low-rank', rank: 5 },
  { kind: 'swiglu', width: 40 },
];

export const heterogeneous: Architecture = {
  stream: {
    ...uniformArchitecture({ layers: 1, hidden: 32, attention: teacher, ffn: ffns[0]! }).stream,
    vocabularySize: 50,
    contextLength: 64,
    tiedEmbeddings: false,
    ropeScaling: { factor: 8, lowFrequencyFactor: 1, highFrequencyFactor: 4, originalContextLength: 32 },
  },
  slots: attentions.flatMap((attention, layer) => [
    { layer, kind: 'attention' as const, block: attention },
    { layer, kind: 'ffn' as const, block: ffns[layer]! },
  ]),
};
