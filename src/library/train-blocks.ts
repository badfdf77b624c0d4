/** Gradient BLD of some blocks from where they stand: one pass of the teacher's stream feeds them all. */
import type { Weights } from '../blocks/index.ts';
import { placeBlock, releaseBlock, type Execution } from '../execution/index.ts';
import type { BlockConfig, TokenWindows } from '../model/index.ts';
import type { Tensor } from '../tensor/tensor.ts';
import { copies, distil, type DistilOptions } from './distil.ts';
import { normalisedMse, teacherPass, weightedEnergy, type TeacherPass } from './statistics.ts';
import { advance, embedWindows, residentsOf, skip, type StreamState } from './teacher-stream.ts';

/** A block of a slot and how it is trained. */
export interface BlockTraining {
  readonly slot: number;
  readonly config: BlockConfig;
  readonly options: DistilOptions;
  start(): Promise<Weights<Tensor<'float32'>>>;
}

export interface TrainingJob {
  readonly teacher: Execution;
  readonly text: TokenWindows;
  /** Stops each block; takes part in no step. */
  readonly validation: TokenWindows;
  /** Tokens that run through a block together. */
  readonly chunkTokens: number;
  /** At most one a slot. */
  readonly blocks: readonly BlockTraining[];
}

export interface TrainedBlock {
  readonly slot: number;
  /** Normalised MSE on the validation text, weighted as `options` says: as it stood, and at its best. */
  readonly losses: { readonly start: number; readonly kept: number };
  /** Those of the best loss; absent where no validation gained. */
  readonly weights?: Weights<Tensor<'float32'>>;
  /** Since the block before was done: the teacher's way to the slot is part of it. */
  readonly seconds: number;
}

/** Yields each block as soon as it is trained, slot by slot; the stream after it stays the teacher's. */
export async function* trainBlocks(job: TrainingJob): AsyncGenerator<TrainedBlock, void, void> {
  const { teacher, blocks, chunkTokens } = job;
  const ofSlot = new Map(blocks.map((block) => [block.slot, block]));
  const last = Math.max(-1, ...ofSlot.keys());
  let calibration: readonly StreamState[] = [];
  let validation: readonly StreamState[] = [];
  try {
    let since = performance.now();
    calibration = await embedWindows(teacher, job.text, chunkTokens);
    validation = await embedWindows(teacher, job.validation, chunkTokens);
    for (let slot = 0; slot <= last; slot++) {
      const own = teacher.blocks[slot]!;
      const block = ofSlot.get(slot);
      if (block === undefined) {
        calibration = await skip(teacher, own, calibration);
        validation = await skip(teacher, own, validation);
        continue;
      }
      const { tokenWeights = 'none' } = block.options;
      const pass = async (states: readonly StreamState[]): Promise<TeacherPass> => {
        const made = await teacherPass(teacher, own, states, {
          features: false,
          inputs: false,
          weights: tokenWeights,
        });
        return { ...made, energy: await weightedEnergy(teacher, own, made.chunks, tokenWeights) };
      };
      const passes = { calibration: await pass(calibration), validation: await pass(validation) };
      calibration = passes.calibration.chunks;
      validation = passes.validation.chunks;
      const trained = await trainBlock(teacher, block, passes.calibration, passes.validation);
      yield { slot, ...trained, seconds: (performance.now() - since) / 1000 };
      since = performance.now();
      calibration = await advance(teacher, passes.calibration.chunks);
      validation = await advance(teacher, passes.validation.chunks);
    }
  } finally {
    await teacher.runtime.release(...[...calibration, ...validation].flatMap(residentsOf));
  }
}

async function trainBlock(
  teacher: Execution,
  { config, options, start }: BlockTraining,
  calibration: TeacherPass,
  validation: TeacherPass,
): Promise<Pick<TrainedBlock, 'losses' | 'weights'>> {
  const weights = await start();
  const placed = await placeBlock(teacher, config, copies(weights));
  const loss = await normalisedMse(teacher, placed, validation, options.tokenWeights);
  await releaseBlock(teacher, placed);
  const trained = await distil(teacher, config, weights, loss, calibration, validation, options);
  return {
    losses: { start: loss, kept: trained?.loss ?? loss },
    ...(trained && { weights: trained.weights }),
  };
}
