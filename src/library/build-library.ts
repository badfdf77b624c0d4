/** Library: every alternative of every slot, started from the teacher, fitted in closed form, distilled, judged. */
import { blockOf, sameBlock, type TeacherBlock, type Weights } from '../blocks/index.ts';
import { placeBlock, releaseBlock, type Execution } from '../execution/index.ts';
import type { BlockConfig, TokenWindows } from '../model/index.ts';
import type { Tensor } from '../tensor/tensor.ts';
import { PuzzleError } from '../util/errors.ts';
import { silent, type ReportProgress } from '../util/progress.ts';
import { narrowed, rankChannels, refitted, type Ranking } from './closed-form.ts';
import { copies, distil, downloadBlock, lossOf, type DistilOptions } from './distil.ts';
import { isMerged, mergedHeads, projectionMoments } from './merge-heads.ts';
import { featureCount, moments, teacherPass, type TeacherPass } from './statistics.ts';
import { advance, embedWindows, residentsOf, skip, type StreamState } from './teacher-stream.ts';

/** What a block's weights come from, and how good each way was: normalised MSE on validation text. */
export interface BlockRecord {
  readonly config: BlockConfig;
  /** Where the kept weights come from; `none` for a block that needs none trained: the teacher's own, a no-op. */
  readonly kept: 'none' | 'paper' | 'closed-form' | 'distilled';
  readonly losses: {
    readonly paper?: number;
    readonly closedForm?: number;
    /** The best on the way of BLD; absent where it was not asked for. */
    readonly distilled?: number;
    /** Of the kept weights. */
    readonly kept: number;
  };
  /** How the channels of the closed form were chosen. */
  readonly ranking?: Ranking;
  /** Optimiser steps in the kept weights. */
  readonly steps: number;
}

export interface LibraryBlock {
  readonly record: BlockRecord;
  /** Empty for a block without weights of its own making. */
  readonly weights: Weights<Tensor<'float32'>>;
}

/** All alternatives of one slot. */
export interface SlotLibrary {
  readonly slot: number;
  readonly blocks: readonly LibraryBlock[];
  /** Mean |feature| of the teacher's block on the calibration text: what the paper's initialisation ranks by. */
  readonly meanAbsFeature: Float32Array;
  readonly calibrationTokens: number;
  readonly validationTokens: number;
}

export interface LibraryOptions {
  readonly ranking: Ranking;
  /** Per kind of block; kinds not named are not distilled. */
  readonly distil: Readonly<Record<string, DistilOptions>>;
  /** Tokens that run through a block together. */
  readonly chunkTokens: number;
}

const distilDefaults = {
  stepTokens: 1024,
  learningRate: 3e-4,
  weightDecay: 0,
  warmupSteps: 8,
  validations: 4,
  seed: 0,
};

/** Linear blocks are not trained: their closed form is the optimum already. */
export const defaultLibraryOptions: LibraryOptions = {
  ranking: 'elimination',
  distil: {
    gqa: { ...distilDefaults, steps: 96 },
    swiglu: { ...distilDefaults, steps: 16 },
  },
  chunkTokens: 4096,
};

export interface LibraryJob {
  readonly teacher: Execution;
  /** Per slot. */
  readonly alternatives: readonly (readonly BlockConfig[])[];
  readonly calibration: TokenWindows;
  /** Text that takes part in no fit. */
  readonly validation: TokenWindows;
  readonly options?: LibraryOptions;
  /** Slots whose library is there already: the teacher's stream passes them, nothing else happens. */
  readonly finished?: ReadonlySet<number>;
  readonly report?: ReportProgress;
}

/**
 * Goes through the teacher slot by slot and yields the library of each slot that is not finished. Only the stream at
 * one place is held. A slot's result depends on the job alone, not on which slots were finished before: a killed run
 * goes on after the last yielded slot and ends the same.
 *
 * @throws PuzzleError `file-invalid` naming the slot, when the teacher's activations are not finite
 */
export async function* buildLibrary(job: LibraryJob): AsyncGenerator<SlotLibrary, void, void> {
  const { teacher, alternatives, options = defaultLibraryOptions, finished, report = silent } = job;
  const last = alternatives.findLastIndex((_, slot) => !finished?.has(slot));
  if (last < 0) return;
  let calibration = await embedWindows(teacher, job.calibration, options.chunkTokens);
  let validation = await embedWindows(teacher, job.validation, options.chunkTokens);
  report({ kind: 'stage-started', stage: 'distil', total: last + 1, unit: 'slots' });
  try {
    for (let slot = 0; slot <= last; slot++) {
      if (finished?.has(slot)) {
        calibration = await skip(teacher, slot, calibration);
        validation = await skip(teacher, slot, validation);
      } else {
        const passes = await passSlot(teacher, slot, alternatives[slot]!, calibration, validation);
        calibration = passes.calibration.chunks;
        validation = passes.validation.chunks;
        requireFinite(teacher, slot, passes);
        yield await buildSlot(teacher, slot, alternatives[slot]!, passes, options);
        calibration = await advance(teacher, passes.calibration.chunks);
        validation = await advance(teacher, passes.validation.chunks);
      }
      report({ kind: 'advanced', stage: 'distil', done: slot + 1 });
    }
    report({ kind: 'stage-finished', stage: 'distil' });
  } finally {
    await teacher.runtime.release(...[...calibration, ...validation].flatMap(residentsOf));
  }
}

/** The teacher at one slot, on both texts. */
interface Passes {
  readonly calibration: TeacherPass;
  readonly validation: TeacherPass;
}

async function passSlot(
  model: Execution,
  slot: number,
  alternatives: readonly BlockConfig[],
  calibration: readonly StreamState[],
  validation: readonly StreamState[],
): Promise<Passes> {
  const block = model.blocks[slot]!;
  const withGram = alternatives.some((config) => isNarrower(config, block.config));
  return {
    calibration: await teacherPass(model, block, calibration, withGram),
    validation: await teacherPass(model, block, validation, false),
  };
}

function requireFinite({ architecture }: Execution, slot: number, { calibration, validation }: Passes): void {
  if (Number.isFinite(calibration.energy) && Number.isFinite(validation.energy)) return;
  const { layer, kind } = architecture.slots[slot]!;
  throw new PuzzleError('file-invalid', 'The teacher computes infinities or NaN.', {
    at: `layer ${layer}, ${kind}`,
    fix: 'Check the weights of the model.',
  });
}

async function buildSlot(
  model: Execution,
  slot: number,
  alternatives: readonly BlockConfig[],
  passes: Passes,
  options: LibraryOptions,
): Promise<SlotLibrary> {
  const { calibration, validation } = passes;
  const { config: own } = model.blocks[slot]!;
  const teacher: TeacherBlock = {
    config: own,
    weights: await downloadBlock(model, model.blocks[slot]!),
    meanAbsFeature: calibration.meanAbsFeature,
  };
  const narrower = narrowerBlocks(model, teacher, alternatives, calibration, options.ranking);
  const projections = alternatives.some((config) => isMerged(config, own))
    ? await projectionMoments(model, model.blocks[slot]!, calibration)
    : undefined;
  const blocks: LibraryBlock[] = [];
  for (const config of alternatives) {
    if (sameBlock(config, own)) blocks.push(untrained(config, 0));
    else if (blockOf(config).output === undefined) blocks.push(untrained(config, 1));
    else {
      const paper = blockOf(config).initialise(config, teacher, model.architecture.stream);
      const narrow = narrower.get(config);
      const merged = projections && isMerged(config, own) && mergedHeads(config, teacher, projections);
      const closedForm = narrow ?? (await fitOutput(model, config, merged || paper, calibration));
      const starts = { paper, closedForm, ...(narrow && { ranking: options.ranking }) };
      blocks.push(await finish(model, config, starts, passes, options.distil[config.kind]));
    }
  }
  return {
    slot,
    blocks,
    meanAbsFeature: calibration.meanAbsFeature,
    calibrationTokens: calibration.tokens,
    validationTokens: validation.tokens,
  };
}

const untrained = (config: BlockConfig, loss: number): LibraryBlock => ({
  record: { config, kept: 'none', losses: { kept: loss }, steps: 0 },
  weights: {},
});

/** Whether a block is the teacher's on fewer of its channels. */
const isNarrower = (config: BlockConfig, own: BlockConfig): boolean =>
  config.kind === own.kind && blockOf(config).selectChannels !== undefined && !sameBlock(config, own);

/** All narrower blocks of a slot from one order of the teacher's channels and one factorisation. */
function narrowerBlocks(
  { architecture }: Execution,
  teacher: TeacherBlock,
  alternatives: readonly BlockConfig[],
  { gram }: TeacherPass,
  ranking: Ranking,
): ReadonlyMap<BlockConfig, Weights<Tensor<'float32'>>> {
  const configs = alternatives.filter((config) => isNarrower(config, teacher.config));
  if (configs.length === 0 || gram === undefined) return new Map();
  const widths = configs.map((config) => featureCount(config, architecture.stream));
  const order = rankChannels(ranking, teacher, gram);
  const fitted = narrowed(teacher, gram, order, widths);
  return new Map(configs.map((config, i) => [config, fitted[i]!]));
}

/** The closed form of a block with features of its own. */
async function fitOutput(
  model: Execution,
  config: BlockConfig,
  start: Weights<Tensor<'float32'>>,
  calibration: TeacherPass,
): Promise<Weights<Tensor<'float32'>>> {
  const placed = await placeBlock(model, config, copies(start));
  try {
    return refitted(config, start, await moments(model, placed, calibration));
  } finally {
    await releaseBlock(model, placed);
  }
}

interface Starts {
  readonly paper: Weights<Tensor<'float32'>>;
  readonly closedForm: Weights<Tensor<'float32'>>;
  readonly ranking?: Ranking;
}

/** Judges both starts, trains on from the better, keeps the best of the three. */
async function finish(
  model: Execution,
  config: BlockConfig,
  { paper, closedForm, ranking }: Starts,
  { calibration, validation }: Passes,
  options: DistilOptions | undefined,
): Promise<LibraryBlock> {
  const losses = {
    paper: await lossOf(model, config, paper, validation),
    closedForm: await lossOf(model, config, closedForm, validation),
  };
  // A loss that is not a number never wins.
  const isFitted = losses.closedForm <= losses.paper || Number.isNaN(losses.paper);
  const start = isFitted ? closedForm : paper;
  const startLoss = isFitted ? losses.closedForm : losses.paper;
  const trained =
    options && (await distil(model, config, start, startLoss, calibration, validation, options));
  return {
    record: {
      config,
      kept: trained ? 'distilled' : isFitted ? 'closed-form' : 'paper',
      losses: { ...losses, ...(trained && { distilled: trained.loss }), kept: trained?.loss ?? startLoss },
      ...(ranking && { ranking }),
      steps: trained?.step ?? 0,
    },
    weights: trained?.weights ?? start,
  };
}
