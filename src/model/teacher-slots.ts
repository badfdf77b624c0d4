/** Slots of a teacher: attention and FFN of each layer in turn. */
import type { Slot } from './architecture.ts';
import type { Family } from './families.ts';

export interface TeacherLayer {
  readonly heads: number;
  readonly kvHeads: number;
  readonly headDim: number;
  readonly family: Family;
  /** Tokens that attention sees, itself included; undefined for all before it. */
  readonly window: number | undefined;
  /** Of the FFN. */
  readonly width: number;
}

/** Two slots per layer, each described by `layerAt`. */
export const teacherSlots = (layers: number, layerAt: (layer: number) => TeacherLayer): Slot[] =>
  Array.from({ length: layers }, (_, layer) => {
    const { heads, kvHeads, headDim, family, window, width } = layerAt(layer);
    const attention: Slot = {
      layer,
      kind: 'attention',
      block: {
        kind: 'gqa',
        heads,
        kvHeads,
        headDim,
        ...(family.qkvBias && { qkvBias: true }),
        ...(family.qkNorm && { qkNorm: true }),
        ...(window !== undefined && { window }),
      },
    };
    return [attention, { layer, kind: 'ffn', block: { kind: 'swiglu', width } } satisfies Slot];
  }).flat();
