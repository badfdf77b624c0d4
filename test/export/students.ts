/** Students with blocks of every kind, made from a real teacher by the paper's initialisation: no training, real weights. */
import { blockOf, sameBlock } from '../../src/blocks/index.ts';
import {
  openModel,
  saveStudent,
  type Architecture,
  type BlockConfig,
  type Checkpoint,
  type SlotWeights,
} from '../../src/model/index.ts';
import { inMemory, type StoredTensor } from '../../src/tensor/index.ts';

export const bundled = 'models/moby-2m';

const none: BlockConfig = { kind: 'no-op' };
const linear: BlockConfig = { kind: 'linear' };

/** Blocks by layer in place of the teacher's; `undefined` keeps it. */
export type Changes = Readonly<
  Record<number, readonly [attention: BlockConfig | undefined, ffn?: BlockConfig]>
>;

/** Every combination of sub-layers that a file may have to express, in the first, the last and inner layers. */
export function mixtures({ slots }: Architecture): Readonly<Record<string, Changes>> {
  const last = slots.length / 2 - 1;
  const fewer: BlockConfig = { ...slots[0]!.block, kvHeads: 1 };
  const oneGroup: BlockConfig = {
    ...fewer,
    heads: Number(slots[0]!.block.heads) / Number(slots[0]!.block.kvHeads),
  };
  const narrow = (share: number): BlockConfig => ({
    ...slots[1]!.block,
    width: Math.round(Number(slots[1]!.block.width) * share),
  });
  return {
    'every kind': {
      0: [none],
      1: [fewer, none],
      2: [linear, linear],
      3: [none, linear],
      4: [undefined, linear],
      5: [none, none],
      6: [fewer, narrow(1 / 4)],
      [last]: [undefined, none],
    },
    'nothing at the ends': { 0: [none, none], 2: [linear, narrow(1 / 2)], [last]: [none, none] },
    'linear at the ends': { 0: [linear, none], 3: [fewer], [last]: [none, linear] },
    'no FFN first': { 0: [undefined, none], [last]: [linear, linear] },
    'dropped heads and low ranks': {
      1: [oneGroup, { kind: 'low-rank', rank: 24 }],
      2: [{ kind: 'low-rank', rank: 32 }],
      [last]: [oneGroup, none],
    },
    'narrower only': { 1: [fewer, narrow(1 / 2)], [last]: [fewer, narrow(1 / 3)] },
  };
}

/** The changed architecture. */
export const changed = ({ stream, slots }: Architecture, changes: Changes): Architecture => ({
  stream,
  slots: slots.map((slot) => ({
    ...slot,
    block: changes[slot.layer]?.[slot.kind === 'attention' ? 0 : 1] ?? slot.block,
  })),
});

/** Saves the student that `changes` make of the teacher. */
export async function saveMixture(teacherPath: string, changes: Changes, folder: string): Promise<void> {
  const teacher = await openModel(teacherPath);
  try {
    const architecture = changed(teacher.architecture, changes);
    const weights = await Promise.all(
      architecture.slots.map((_, index) => initial(teacher, architecture, index)),
    );
    const student = { stream: teacher.stream, slot: (index: number) => weights[index]! };
    await saveStudent(folder, architecture, student, await teacher.tokenizer());
  } finally {
    await teacher.close();
  }
}

async function initial(
  teacher: Checkpoint,
  { stream, slots }: Architecture,
  index: number,
): Promise<SlotWeights<StoredTensor>> {
  const [config, own] = [slots[index]!.block, teacher.architecture.slots[index]!.block];
  if (sameBlock(config, own)) return teacher.slot(index);
  const weights = await teacher.slotWeights(index);
  const features = weights[blockOf(own).output!]!.shape[1]!;
  const meanAbsFeature = new Float32Array(features).fill(1);
  const made = blockOf(config).initialise(config, { config: own, weights, meanAbsFeature }, stream);
  return Object.fromEntries(Object.entries(made).map(([name, tensor]) => [name, inMemory(name, tensor)]));
}
