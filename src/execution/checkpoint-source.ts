/** Models on disk as what an execution is opened from. */
import type { Checkpoint } from '../model/index.ts';
import type { WeightSource } from './execution.ts';

/** A checkpoint as the source of an execution's weights. */
export const checkpointSource = (checkpoint: Checkpoint): WeightSource => ({
  architecture: checkpoint.architecture,
  streamWeight: (name) =>
    ({ embedding: checkpoint.embedding, norm: checkpoint.finalNorm, head: checkpoint.head })[name](),
  blockWeights: checkpoint.slotWeights,
});
