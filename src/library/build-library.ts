/** Library: every alternative of every slot, started from the teacher, fitted in closed form, distilled, judged. */
import type { Matrix } from '../algebra/index.ts';
import {
  blockOf,
  contributions,
  sameBlock,
  strongestChannels,
  type TeacherBlock,
  type Weights,
} from '../blocks/index.ts';
import { placeBlock, releaseBlock, type Execution } from '../execution/index.ts';
import type { BlockConfig, TokenWindows } from '../model/index.ts';
import type { Tensor } from '../tensor/tensor.ts';
import { PuzzleError } from '../util/errors.ts';
import { silent, type ReportProgress } from '../util/progress.ts';
import { closedFormsInThread } from './algebra-thread.ts';
import { refitted, sourceOf, type ClosedForm } from './closed-form.ts';
import { copies, distil, downloadBlock, lossOf, type DistilOptions } from './distil.ts';
import { isMerged, mergedHeads, projectionMoments, type ProjectionMoments } from './merge-heads.ts';
import { openJudge, type Judge } from './judge.ts';
import type { Ranking } from './narrowing.ts';
import { moments, teacherPass, type TeacherPass, type TokenWeights } from './statistics.ts';
import { advance, embedWindows, residentsOf, rowsOf, skip, type StreamState } from './teacher-stream.ts';

/** What a block's weights come from, and how good each way was: normalised MSE on validation text. */
export interface BlockRecord {
  readonly config: BlockConfig;
  /** Where the kept weights come from; `none` for a block that needs none trained: the teacher's own, a no-op. */
  readonly kept: 'none' | 'paper' | 'closed-form' | 'distilled';
  readonly losses: {
    /** Absent where nobody asked for the comparison. */
    readonly paper?: number;
    readonly closedForm?: number;
    /** The best on the way of BLD; absent where it was not asked for. */
    readonly distilled?: number;
    /** Of the kept weights. */
    readonly kept: number;
  };
  /** How the closed form chose which of the teacher's channels or heads stay. */
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
  /** How much a token of the calibration text counts in closed forms; all alike by default. */
  readonly tokenWeights?: TokenWeights;
  /** Tokens of the calibration text whose backward pass says which outputs matter; 0, the default, takes all as alike. */
  readonly sensitivityTokens?: number;
  /**
   * Whether the paper's start is judged beside every closed form, as it is by default; else only where a closed form
   * is not finite. It costs passes over the validation text, many times the closed forms of a fine space.
   */
  readonly comparePaper?: boolean;
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
  tokenWeights: 'stream',
  sensitivityTokens: 6144,
};

/** For spaces of dozens of alternatives a slot. */
export const closedFormOptions: LibraryOptions = {
  ranking: 'elimination',
  distil: {},
  chunkTokens: 4096,
  tokenWeights: 'stream',
  sensitivityTokens: 6144,
  comparePaper: false,
};

export interface LibraryJob {
  readonly teacher: Execution;
  /** Per slot. */
  readonly alternatives: readonly (readonly BlockConfig[])[];
  readonly calibration: TokenWindows;
  /** Text that takes part in no fit. */
  readonly validation: TokenWindows;
  readonly options?: LibraryOptions;
  /** How much each direction of a slot's output matters, from `sensitivities`; all alike if absent. */
  readonly sensitivity?: (slot: number) => Promise<Matrix>;
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
  let calibration: readonly StreamState[] = [];
  let validation: readonly StreamState[] = [];
  // A slot is solved while the teacher goes through the next one.
  const begun: BegunSlot[] = [];
  const endFirst = async (): Promise<SlotLibrary> => {
    const { slot, finish } = begun.shift()!;
    const library = await finish();
    report({ kind: 'advanced', stage: 'distil', done: slot + 1 });
    return library;
  };
  try {
    calibration = await embedWindows(teacher, job.calibration, options.chunkTokens);
    validation = await embedWindows(teacher, job.validation, options.chunkTokens);
    report({ kind: 'stage-started', stage: 'distil', total: last + 1, unit: 'slots' });
    for (let slot = 0; slot <= last; slot++) {
      if (finished?.has(slot)) {
        calibration = await skip(teacher, teacher.blocks[slot]!, calibration);
        validation = await skip(teacher, teacher.blocks[slot]!, validation);
        continue;
      }
      if (blockOf(teacher.blocks[slot]!.config).output === undefined) {
        while (begun.length > 0) yield await endFirst();
        yield emptySlot(slot, alternatives[slot]!, calibration, validation);
        continue; // the stream passes unchanged
      }
      const passes = await passSlot(teacher, slot, alternatives[slot]!, calibration, validation, options);
      calibration = passes.calibration.chunks;
      validation = passes.validation.chunks;
      requireFinite(teacher, slot, passes);
      const sensitivity = await job.sensitivity?.(slot);
      const next = await beginSlot(teacher, slot, alternatives[slot]!, passes, options, sensitivity);
      begun.push(next);
      while (begun.length > (next.needsStream ? 0 : 1)) yield await endFirst();
      calibration = await advance(teacher, passes.calibration.chunks);
      validation = await advance(teacher, passes.validation.chunks);
    }
    while (begun.length > 0) yield await endFirst();
    report({ kind: 'stage-finished', stage: 'distil' });
  } finally {
    for (const { abandon } of begun) await abandon();
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
  { tokenWeights = 'none' }: LibraryOptions,
): Promise<Passes> {
  const block = model.blocks[slot]!;
  const sources = new Set(
    alternatives
      .filter((config) => !sameBlock(config, block.config))
      .map((config) => sourceOf(config, block.config)),
  );
  const wanted = { features: sources.has('features'), inputs: sources.has('inputs') };
  const merges = alternatives.some((config) => isMerged(config, block.config));
  return {
    calibration: await teacherPass(model, block, calibration, {
      ...wanted,
      inputs: wanted.inputs || merges,
      weights: tokenWeights,
    }),
    validation: await teacherPass(model, block, validation, { ...wanted, weights: 'none' }),
  };
}

function requireFinite(model: Execution, slot: number, { calibration, validation }: Passes): void {
  if (Number.isFinite(calibration.energy) && Number.isFinite(validation.energy)) return;
  throw new PuzzleError('file-invalid', 'The teacher computes infinities or NaN.', {
    at: placeOf(model, slot),
    fix: 'Check the weights of the model.',
  });
}

/** Where the teacher has no block, the only alternative is its own nothing. */
const emptySlot = (
  slot: number,
  alternatives: readonly BlockConfig[],
  calibration: readonly StreamState[],
  validation: readonly StreamState[],
): SlotLibrary => ({
  slot,
  blocks: alternatives.map((config) => untrained(config, 0)),
  meanAbsFeature: new Float32Array(0),
  calibrationTokens: calibration.reduce((sum, state) => sum + rowsOf(state), 0),
  validationTokens: validation.reduce((sum, state) => sum + rowsOf(state), 0),
});

function placeOf({ architecture }: Execution, slot: number): string {
  const { layer, kind } = architecture.slots[slot]!;
  return `layer ${layer}, ${kind}`;
}

/** A slot whose closed forms are being solved. */
interface BegunSlot {
  readonly slot: number;
  /** Whether finishing it reads the teacher's stream at the slot. */
  readonly needsStream: boolean;
  finish(): Promise<SlotLibrary>;
  /** In place of `finish`: frees what it holds. */
  abandon(): Promise<void>;
}

async function beginSlot(
  model: Execution,
  slot: number,
  alternatives: readonly BlockConfig[],
  passes: Passes,
  options: LibraryOptions,
  sensitivity: Matrix | undefined,
): Promise<BegunSlot> {
  const { calibration, validation } = passes;
  const { config: own } = model.blocks[slot]!;
  const teacher: TeacherBlock = {
    config: own,
    weights: await downloadBlock(model, model.blocks[slot]!),
    meanAbsFeature: calibration.meanAbsFeature,
  };
  const made = alternatives.filter(
    (config) => !sameBlock(config, own) && blockOf(config).output !== undefined,
  );
  const { gram, inputs } = calibration;
  // Before the moments move to the thread that solves.
  const projections =
    inputs && made.some((config) => isMerged(config, own)) ? projectionMoments(teacher, inputs) : undefined;
  const solving = closedFormsInThread({
    teacher,
    alternatives: made,
    ranking: options.ranking,
    ...(gram && { gram }),
    ...(inputs && { inputs: { gram: inputs.gram, cross: inputs.cross } }),
    ...(sensitivity && { sensitivity }),
  });
  solving.catch(() => {}); // whoever finishes the slot sees it
  const judge = await openJudge(model, teacher.weights[blockOf(own).output!]!, validation);
  const work: SlotWork = { model, slot, teacher, passes, judge, options };
  let ownFeatures: ReadonlyMap<BlockConfig, Starts>;
  try {
    ownFeatures = await fitOutputs(
      work,
      made.filter((config) => sourceOf(config, own) === undefined),
      projections,
    );
  } catch (error) {
    await judge.close();
    throw error;
  }
  return {
    slot,
    needsStream: made.some(({ kind }) => (options.distil[kind]?.steps ?? 0) > 0),
    abandon: () => judge.close(),
    async finish() {
      try {
        const solved = await named(() => solving, model, slot);
        const blocks: LibraryBlock[] = [];
        for (const config of alternatives) {
          if (sameBlock(config, own)) blocks.push(untrained(config, 0));
          else if (blockOf(config).output === undefined) blocks.push(untrained(config, 1));
          else {
            const starts =
              ownFeatures.get(config) ?? (await judged(work, config, solved[made.indexOf(config)]!));
            blocks.push(await finishBlock(work, config, starts));
          }
        }
        return {
          slot,
          blocks,
          meanAbsFeature: calibration.meanAbsFeature,
          calibrationTokens: calibration.tokens,
          validationTokens: validation.tokens,
        };
      } finally {
        await judge.close();
      }
    },
  };
}

/** A failure with the slot it happened in. */
async function named<T>(work: () => Promise<T>, model: Execution, slot: number): Promise<T> {
  try {
    return await work();
  } catch (error) {
    if (!(error instanceof PuzzleError) || error.context.at !== undefined) throw error;
    throw new PuzzleError(error.code, error.message, { ...error.context, at: placeOf(model, slot) });
  }
}

const untrained = (config: BlockConfig, loss: number): LibraryBlock => ({
  record: { config, kept: 'none', losses: { kept: loss }, steps: 0 },
  weights: {},
});

interface SlotWork {
  readonly model: Execution;
  readonly slot: number;
  readonly teacher: TeacherBlock;
  readonly passes: Passes;
  readonly judge: Judge;
  readonly options: LibraryOptions;
}

/** Weights and how good they are on validation text. */
interface Start {
  readonly weights: Weights<Tensor<'float32'>>;
  readonly loss: number;
}

interface Starts {
  readonly closedForm: Start;
  readonly paper?: Start;
}

/** The closed forms of blocks with features of their own: heads merged, or else as the paper starts them, refitted. */
async function fitOutputs(
  work: SlotWork,
  configs: readonly BlockConfig[],
  projections: ProjectionMoments | undefined,
): Promise<ReadonlyMap<BlockConfig, Starts>> {
  const { model, slot, teacher, passes, options } = work;
  const judge = async (config: BlockConfig, weights: Weights<Tensor<'float32'>>): Promise<Start> => ({
    weights,
    loss: await lossOf(model, config, weights, passes.validation),
  });
  const fitted = new Map<BlockConfig, Starts>();
  for (const config of configs) {
    const paper = paperStart(model, config, teacher);
    const start =
      projections && isMerged(config, teacher.config) ? mergedHeads(config, teacher, projections) : paper;
    const placed = await placeBlock(model, config, copies(start));
    try {
      const sums = await moments(model, placed, passes.calibration, options.tokenWeights);
      const solved = named(async () => refitted(config, start, sums), model, slot);
      const closedForm = await judge(config, await solved);
      const isCompared = comparesPaper(options, closedForm);
      fitted.set(config, { closedForm, ...(isCompared && { paper: await judge(config, paper) }) });
    } finally {
      await releaseBlock(model, placed);
    }
  }
  return fitted;
}

/** A block that reads what the teacher computes anyway: no token passes through it. */
async function judged(
  { model, teacher, judge, options }: SlotWork,
  config: BlockConfig,
  form: ClosedForm,
): Promise<Starts> {
  const start = async (of: ClosedForm): Promise<Start> => ({
    weights: of.weights,
    loss: await judge.loss(config, of),
  });
  const closedForm = await start(form);
  if (!comparesPaper(options, closedForm)) return { closedForm };
  const part = blockOf(config).narrowing?.(config, teacher.config);
  const output = teacher.weights[blockOf(teacher.config).output!]!;
  const paper = {
    weights: paperStart(model, config, teacher),
    ...(part && { channels: strongestChannels(part, contributions(teacher, output)) }),
  };
  return { closedForm, paper: await start(paper) };
}

const comparesPaper = ({ comparePaper = true }: LibraryOptions, closedForm: Start): boolean =>
  comparePaper || !isFinite(closedForm);

const paperStart = (
  { architecture }: Execution,
  config: BlockConfig,
  teacher: TeacherBlock,
): Weights<Tensor<'float32'>> => blockOf(config).initialise(config, teacher, architecture.stream);

/** Trains on from the better start, keeps the best of the three. */
async function finishBlock(
  { model, slot, teacher, passes: { calibration, validation }, options }: SlotWork,
  config: BlockConfig,
  { closedForm, paper }: Starts,
): Promise<LibraryBlock> {
  // What is not a number never wins.
  const isFitted = isFinite(closedForm) && !(paper !== undefined && paper.loss < closedForm.loss);
  const start = isFitted ? closedForm : paper!;
  if (!isFinite(start))
    throw new PuzzleError('file-invalid', 'A block of the library comes out as infinities or NaN.', {
      at: placeOf(model, slot),
      value: config,
      fix: 'Check the weights of the model, or leave this block out of the search space.',
    });
  const training = options.distil[config.kind];
  const trained =
    training && (await distil(model, config, start.weights, start.loss, calibration, validation, training));
  return {
    record: {
      config,
      kept: trained ? 'distilled' : isFitted ? 'closed-form' : 'paper',
      losses: {
        ...(paper && { paper: paper.loss }),
        closedForm: closedForm.loss,
        ...(trained && { distilled: trained.loss }),
        kept: trained?.loss ?? start.loss,
      },
      ...(sourceOf(config, teacher.config) === 'features' && { ranking: options.ranking }),
      steps: trained?.step ?? 0,
    },
    weights: trained?.weights ?? start.weights,
  };
}

const isFinite = ({ weights, loss }: Start): boolean =>
  !Number.isNaN(loss) && Object.values(weights).every(({ data }) => data.every(Number.isFinite));
