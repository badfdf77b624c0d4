/**
 * Gradient BLD where it pays: a budget is spent, round by round, on the blocks of the student that gain most per second.
 * A block's rounds name its job, whatever the other blocks did: another student with the same block finds it trained.
 */
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { z } from 'zod';
import { sameBlock, type Weights } from '../blocks/index.ts';
import { trainBlocks, type DistilOptions } from '../library/index.ts';
import type { BlockConfig } from '../model/index.ts';
import type { Choice } from '../search/index.ts';
import type { StoredTensor } from '../tensor/index.ts';
import { hashOf, type Json } from '../util/hash.ts';
import { meanInterval, type Interval } from '../util/interval.ts';
import { checkAgainst } from '../util/json.ts';
import type { ReportProgress } from '../util/progress.ts';
import { loadStored, storedWeights, writeWeights } from './block-file.ts';
import { isLower, openMeasure } from './measure-students.ts';
import type { Prepared } from './prepare.ts';
import { readJobJson, type FinishedJob, type JobDescription, type Store } from './store.ts';
import { storedBlock, type StudentBlocks, type StudentStageInput } from './student-stage.ts';
import { windowsOf } from './texts.ts';
import { assignments, type Assignment, type Prospect, type TrainingBudget } from './training-plan.ts';

/** Raised when the same rounds give other weights. */
const version = 1;

/** Steps are made on the calibration text, as long as the validation text gains. */
const training: Omit<DistilOptions, 'steps' | 'seed'> & { readonly tokenWeights: 'stream' } = {
  stepTokens: 1024,
  learningRate: 1e-3,
  weightDecay: 0,
  warmupSteps: 4,
  validations: 2,
  tokenWeights: 'stream',
};

/** Kinds whose closed form is not the optimum of all their weights. */
const trainable: ReadonlySet<string> = new Set(['gqa', 'swiglu']);

/** Rounds that the budget is spread over: few learn too late what pays, many warm up too often. */
const rounds = 4;

export interface TrainingOutcome {
  readonly budget: TrainingBudget;
  /** Of the budget's unit. */
  readonly spent: number;
  readonly rounds: number;
  /** Blocks that were trained. */
  readonly blocks: number;
  /** Of these, whose validation gained. */
  readonly gained: number;
  /** Sum over blocks of damage x relative fall of the validation loss, in nats: what rounds were planned by. */
  readonly predictedGain: number;
  /** Mean KL on the selection text. */
  readonly before: Interval;
  readonly after: Interval;
  readonly accepted: boolean;
}

/** One round of a block: steps on some windows of the calibration text. */
interface Round {
  readonly firstWindow: number;
  readonly windows: number;
  readonly steps: number;
}

/** A block on its way. */
interface BlockState extends Prospect {
  readonly slot: number;
  readonly config: BlockConfig;
  readonly rounds: readonly Round[];
  /** Normalised MSE on the validation text as the library has it, and now. */
  readonly losses?: { readonly start: number; readonly now: number };
  /** Whose weights are the best so far; absent before the first gain. */
  readonly best?: FinishedJob;
}

/** Trains the student's blocks within the budget, and says whether text that nothing was fitted on gains by it. */
export async function trainSolution(
  prepared: Prepared,
  students: StudentStageInput,
  student: { readonly choice: Choice; readonly damages: readonly number[] },
  budget: TrainingBudget,
  store: Store,
  report: ReportProgress,
): Promise<{ readonly blocks: StudentBlocks; readonly outcome: TrainingOutcome }> {
  const stage = 'training';
  report({ kind: 'stage-started', stage, total: budget.amount, unit: budget.unit });
  let states = untrained(students, student, budget);
  let [spent, firstWindow, round] = [0, 0, 0];
  for (; round < rounds; round++) {
    const plan = assignments(states, (budget.amount - spent) / (rounds - round));
    if (plan.length === 0) break;
    const stretch = stretchFor(plan, prepared, firstWindow);
    firstWindow = stretch.firstWindow + stretch.windows;
    for await (const { state, seconds } of trainRound(
      prepared,
      students,
      student.choice,
      plan,
      stretch,
      store,
    )) {
      const { steps } = state.rounds.at(-1)!;
      const stepCost = budget.unit === 'tokens' ? training.stepTokens : seconds / steps;
      spent += steps * stepCost;
      states = states.map((other) => (other.slot === state.slot ? { ...state, stepCost } : other));
      report({ kind: 'advanced', stage, done: Math.min(spent, budget.amount) });
      // Only the probe, whose costs nobody knew, can take all.
      if (spent >= budget.amount) break;
    }
  }
  const blocks = studentBlocks(students, student.choice, states);
  const gained = states.filter(({ best }) => best !== undefined).length;
  const measure = openMeasure(students, prepared.texts.selection, store);
  try {
    const before = await measure.kl({ choice: student.choice, weights: 'library' });
    const after = gained === 0 ? before : await measure.kl({ choice: student.choice, weights: blocks });
    const [from, to] = [meanInterval(before), meanInterval(after)];
    report({
      kind: 'stage-finished',
      stage,
      note: `KL ${from.value.toFixed(3)} to ${to.value.toFixed(3)}`,
    });
    const outcome = {
      budget,
      spent,
      rounds: round,
      blocks: states.filter((state) => state.rounds.length > 0).length,
      gained,
      predictedGain: states.reduce(
        (sum, { damage, losses }) => sum + (losses ? damage * (1 - losses.now / losses.start) : 0),
        0,
      ),
      before: from,
      after: to,
      accepted: isLower(after, before),
    };
    return { blocks, outcome };
  } finally {
    await measure.close();
  }
}

function untrained(
  { teacher, alternatives }: StudentStageInput,
  { choice, damages }: { readonly choice: Choice; readonly damages: readonly number[] },
  { unit }: TrainingBudget,
): readonly BlockState[] {
  const { slots } = teacher.checkpoint.architecture;
  return choice.flatMap((position, slot): BlockState[] => {
    const config = alternatives[slot]![position]!;
    if (sameBlock(config, slots[slot]!.block) || !trainable.has(config.kind)) return [];
    const stepCost = unit === 'tokens' ? training.stepTokens : undefined;
    return [{ slot, config, damage: damages[slot]!, rounds: [], rate: undefined, stepCost }];
  });
}

/** Windows enough for the longest assignment, in whole chunks; from the start again after the last. */
function stretchFor(
  plan: readonly Assignment<BlockState>[],
  { texts: { calibration }, options: { library } }: Prepared,
  firstWindow: number,
): Omit<Round, 'steps'> {
  const longest = Math.max(...plan.map(({ steps }) => steps)) * training.stepTokens;
  const chunkWindows = Math.max(1, Math.floor(library.chunkTokens / calibration.window));
  const chunks = Math.ceil(longest / (chunkWindows * calibration.window));
  const windows = Math.min(calibration.count, chunks * chunkWindows);
  return { firstWindow: firstWindow + windows > calibration.count ? 0 : firstWindow, windows };
}

/** Trains what the store lacks of a round; yields every block of it as it stands afterwards. */
async function* trainRound(
  { texts: { calibration, validation }, options: { library } }: Prepared,
  students: StudentStageInput,
  choice: Choice,
  plan: readonly Assignment<BlockState>[],
  stretch: Omit<Round, 'steps'>,
  store: Store,
): AsyncGenerator<{ readonly state: BlockState; readonly seconds: number }, void, void> {
  const jobs = new Map<number, { readonly block: BlockState; readonly job: JobDescription }>();
  for (const { block, steps } of plan) {
    const history = [...block.rounds, { ...stretch, steps }];
    const job: JobDescription = {
      stage: 'training',
      version,
      inputs: {
        teacher: students.teacher.checkpoint.identity,
        calibration: calibration.hash,
        validation: validation.hash,
        block: students.library.keys[block.slot]![choice[block.slot]!]!,
        options: { ...training },
        chunkTokens: library.chunkTokens,
        rounds: history as unknown as Json,
        device: students.device,
      },
    };
    const after = { ...block, rounds: history };
    const found = await store.find(job);
    if (found) yield finished(after, found, await readRecord(found));
    else jobs.set(block.slot, { block: after, job });
  }
  if (jobs.size === 0) return;
  const { firstWindow, windows } = stretch;
  const trained = trainBlocks({
    teacher: await students.teacher.execution(),
    text: windowsOf(calibration, firstWindow, firstWindow + windows),
    validation,
    chunkTokens: library.chunkTokens,
    blocks: [...jobs.values()].map(({ block }) => ({
      slot: block.slot,
      config: block.config,
      options: { ...training, steps: block.rounds.at(-1)!.steps, seed: block.rounds.length },
      start: async () => loadStored(await storedState(students, choice, block)),
    })),
  });
  for await (const { slot, weights, ...record } of trained) {
    const { block, job } = jobs.get(slot)!;
    const done = await store.run(job, async (folder) => {
      await writeFile(join(folder, recordFile), `${JSON.stringify(record)}\n`);
      if (weights) await writeWeights(join(folder, weightsFile), weights);
    });
    yield finished(block, done, record);
  }
}

/** A block after a round. */
function finished(
  block: BlockState,
  job: FinishedJob,
  { losses, seconds }: TrainingRecord,
): { readonly state: BlockState; readonly seconds: number } {
  const start = block.losses?.start ?? losses.start;
  const gain = (block.damage * (losses.start - losses.kept)) / start;
  const isBetter = losses.kept < losses.start;
  const state = {
    ...block,
    rate: isBetter ? gain / seconds : 0,
    losses: { start, now: losses.kept },
    ...(isBetter && { best: job }),
  };
  return { state, seconds };
}

function studentBlocks(
  students: StudentStageInput,
  choice: Choice,
  states: readonly BlockState[],
): StudentBlocks {
  const ofSlot = new Map(states.map((state) => [state.slot, state]));
  const stored = (slot: number): Promise<Weights<StoredTensor>> =>
    storedState(students, choice, ofSlot.get(slot) ?? { slot });
  return {
    key: hashOf({ version, trained: states.map(({ slot, best }) => [slot, best?.key ?? null]) }),
    stored,
  };
}

/** The best weights of a block so far: the library's before it gained. */
const storedState = (
  students: StudentStageInput,
  choice: Choice,
  { slot, best }: Pick<BlockState, 'slot' | 'best'>,
): Promise<Weights<StoredTensor>> =>
  best
    ? storedWeights(join(best.folder, weightsFile))
    : storedBlock(students, { choice, weights: 'library' }, slot);

const recordFile = 'record.json';
const weightsFile = 'weights.safetensors';
const recordSchema = z.strictObject({
  losses: z.strictObject({ start: z.number(), kept: z.number() }),
  seconds: z.number(),
});
type TrainingRecord = z.infer<typeof recordSchema>;

const readRecord = async (job: FinishedJob): Promise<TrainingRecord> =>
  checkAgainst(
    recordSchema,
    await readJobJson(job, recordFile),
    join(job.folder, recordFile),
    'Remove the store; it will be made again.',
  );
