/** The paper's initialisation as a library of its own. */
import { blockOf, type Weights } from '../blocks/index.ts';
import type { WeightSource } from '../execution/index.ts';
import type { BlockConfig } from '../model/architecture.ts';
import type { Tensor } from '../tensor/tensor.ts';

/** Weights of the alternatives of a slot; asked for neither the teacher's own block nor one without weights. */
export type BlockWeights = (slot: number, config: BlockConfig) => Promise<Weights<Tensor<'float32'>>>;

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
