/** Writes a student: `architecture.json`, `model.safetensors`, tokenizer; {@link openModel} opens it again. */
import { stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { writeSafetensors, type StoredTensor } from '../tensor/index.ts';
import { writeFolderAtomically } from '../util/atomic-file.ts';
import { PuzzleError } from '../util/errors.ts';
import { formatArchitecture } from './architecture-file.ts';
import type { Architecture } from './architecture.ts';
import type { Checkpoint, SlotWeights } from './checkpoint.ts';
import type { Tokenizer } from './tokenizer.ts';
import { slotWeightName, streamWeightNames, type StreamWeight } from './weight-names.ts';

/** Weights by slot, read when they are written; an open {@link Checkpoint} is one, `inMemory` makes others. */
export interface StudentWeights {
  readonly stream: Checkpoint['stream'];
  slot(index: number): SlotWeights<StoredTensor>;
}

/**
 * Writes a student in float32, holding one tensor at a time. The folder appears whole or not at all.
 * Throws `not-writable` where it exists already, `disk-full`, and whatever loading a weight throws.
 */
export async function saveStudent(
  folder: string,
  architecture: Architecture,
  weights: StudentWeights,
  tokenizer: Tokenizer,
): Promise<void> {
  await refuseExisting(folder);
  await writeFolderAtomically(folder, async (temporary) => {
    await writeFile(join(temporary, 'architecture.json'), formatArchitecture(architecture));
    for (const [name, content] of Object.entries(tokenizer.files()))
      await writeFile(join(temporary, name), content);
    await writeSafetensors(join(temporary, 'model.safetensors'), ownTensors(architecture, weights));
  });
}

/** All weights under our own names, in the order of the model. */
function ownTensors({ slots, stream }: Architecture, weights: StudentWeights): StoredTensor[] {
  const { embedding, norm, head } = weights.stream;
  const ofStream = (Object.entries({ embedding, norm, head }) as [StreamWeight, StoredTensor | undefined][])
    .filter(([weight]) => weight !== 'head' || !stream.tiedEmbeddings)
    .flatMap(([weight, tensor]) =>
      tensor === undefined ? [] : [renamed(tensor, streamWeightNames.own[weight])],
    );
  const ofSlots = slots.flatMap((slot, index) =>
    Object.entries(weights.slot(index)).map(([weight, tensor]) =>
      renamed(tensor, slotWeightName('own', index, slot, weight)),
    ),
  );
  return [...ofStream, ...ofSlots];
}

const renamed = (tensor: StoredTensor, name: string): StoredTensor => ({ ...tensor, name, encoding: 'F32' });

async function refuseExisting(folder: string): Promise<void> {
  const exists = await stat(folder).then(
    () => true,
    () => false,
  );
  if (!exists) return;
  throw new PuzzleError('not-writable', `${folder} exists already.`, {
    at: folder,
    fix: 'Choose another folder, or remove this one.',
  });
}
