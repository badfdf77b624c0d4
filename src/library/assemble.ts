/** Assembly: a choice of one block per slot and a library become a student's weights. */
import { blockOf, sameBlock, type Weights } from '../blocks/index.ts';
import type { WeightSource } from '../execution/index.ts';
import type { BlockConfig } from '../model/architecture.ts';
import type { Tensor } from '../tensor/tensor.ts';

/** Weights of the alternatives of a slot; asked for neither the teacher's own block nor one without weights. */
export type BlockWeights = (slot: number, config: BlockConfig) => Promise<Weights<Tensor<'float32'>>>;

/**
 * The student with block `chosen[slot]` in each slot: the teacher's stream and unchanged blocks, all else from
 * `library`. Nothing is read before it is asked for.
 */
export function assemble(
  teacher: WeightSource,
  chosen: readonly BlockConfig[],
  library: BlockWeights,
): WeightSource {
  const { stream, slots } = teacher.architecture;
  return {
    architecture: { stream, slots: slots.map((slot, index) => ({ ...slot, block: chosen[index]! })) },
    streamWeight: async (name) => teacher.streamWeight(name),
    async blockWeights(slot) {
      const config = chosen[slot]!;
      if (sameBlock(config, slots[slot]!.block)) return teacher.blockWeights(slot);
      return blockOf(config).output === undefined ? {} : library(slot, config);
    },
  };
}

/**
 * The library that the paper's initialisation alone makes: what distillation has to beat.
 * @param meanAbsFeature per slot, from `SlotLibrary`
 */
export const paperInitialisation =
  (teacher: WeightSource, meanAbsFeature: (slot: number) => Promise<Float32Array>): BlockWeights =>
  async (slot, config) => {
    const { stream, slots } = teacher.architecture;
    const own = {
      config: slots[slot]!.block,
      weights: await teacher.blockWeights(slot),
      meanAbsFeature: await meanAbsFeature(slot),
    };
    return blockOf(config).initialise(config, own, stream);
  };
