/** Linear maps of two thin matrices as the one matrix that they are, for formats that know only that. */
import { product } from '../blocks/index.ts';
import type { Architecture, BlockConfig, Checkpoint, SlotWeights } from '../model/index.ts';
import type { StoredTensor } from '../tensor/index.ts';

const isLowRank = ({ kind }: BlockConfig): boolean => kind === 'low-rank';

/** The architecture with a linear block in place of each linear map of limited rank. */
export const withWholeMatrices = ({ stream, slots }: Architecture): Architecture => ({
  stream,
  slots: slots.map((slot) => (isLowRank(slot.block) ? { ...slot, block: { kind: 'linear' } } : slot)),
});

/** The same model in that architecture; products are made when they are written. */
export const multiplied = (checkpoint: Checkpoint): Checkpoint => ({
  ...checkpoint,
  architecture: withWholeMatrices(checkpoint.architecture),
  slot(index) {
    const weights = checkpoint.slot(index);
    return isLowRank(checkpoint.architecture.slots[index]!.block) ? wholeMatrix(weights) : weights;
  },
});

/** expand . reduce: (hidden, rank) x (rank, hidden) */
function wholeMatrix({ norm, expand, reduce }: SlotWeights<StoredTensor>): SlotWeights<StoredTensor> {
  const linear: StoredTensor = {
    ...expand!,
    shape: [expand!.shape[0]!, reduce!.shape[1]!],
    load: async () => product(await expand!.load(), await reduce!.load()),
  };
  return { norm: norm!, linear };
}

/** What to say of it. */
export const multiplicationNotes = ({ slots }: Architecture): readonly string[] =>
  slots
    .filter(({ block }) => isLowRank(block))
    .map(
      ({ layer, kind }) =>
        `The two thin matrices of layer ${layer}'s ${kind} are multiplied: the format has one matrix.`,
    );
