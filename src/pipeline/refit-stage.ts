/** The refit of a student as a stage: one stored job per slot, each resting on those before it. */
import { join } from 'node:path';
import { blockOf, type Weights } from '../blocks/index.ts';
import { defaultRefitOptions, refitStudent, type RefitOptions } from '../library/index.ts';
import type { StoredTensor } from '../tensor/index.ts';
import { hashOf, type Json } from '../util/hash.ts';
import { meanInterval, type Interval } from '../util/interval.ts';
import type { ReportProgress } from '../util/progress.ts';
import { between } from './interpolation.ts';
import { isLower, openMeasure, type Measured } from './measure-students.ts';
import type { Prepared } from './prepare.ts';
import { loadWeights, storedWeights, writeWeights } from './block-file.ts';
import type { JobDescription, Store } from './store.ts';
import {
  storedBlock,
  withCandidate,
  type Student,
  type StudentBlocks,
  type StudentStageInput,
} from './student-stage.ts';
import type { RunText } from './texts.ts';

/** Raised when the same student comes out otherwise. */
const version = 2;

/**
 * Shares of the way from the library's weights to the refitted ones that are tried, from the shortest on. Each slot makes
 * up for all that the slots before it changed, and together they go too far: part of the way measures better, most of
 * all on other text than the one fitted on (WiSE-FT, arXiv 2109.01903).
 */
const shares = [0.25, 0.5, 0.75, 1];

/** Refits whatever slots the store lacks. @returns the student at any share of the way */
async function refitStage(
  input: StudentStageInput,
  student: Student,
  text: RunText,
  options: RefitOptions,
  store: Store,
  report: ReportProgress,
): Promise<(share: number) => StudentBlocks> {
  const { teacher, alternatives, library, device } = input;
  const { choice, weights: base } = student;
  const blocks = hashOf(choice.map((position, slot) => library.keys[slot]![position]!));
  const common = {
    teacher: teacher.checkpoint.identity,
    text: text.hash,
    blocks,
    ...(base !== 'library' && { weights: base.key }),
    options: options as unknown as Json,
    device,
  };
  const job = (slot: number): JobDescription => ({ stage: 'refit', version, inputs: { ...common, slot } });
  const pathOf = async (slot: number): Promise<string> =>
    join((await store.find(job(slot)))!.folder, weightsFile);
  const open = choice.flatMap((position, slot) =>
    blockOf(alternatives[slot]![position]!).output === undefined ? [] : [slot],
  );
  const found = await Promise.all(open.map((slot) => store.find(job(slot))));
  if (found.some((finished) => finished === undefined)) {
    const execution = await teacher.execution();
    await withCandidate(input, student, async (placed) => {
      const slots = refitStudent({
        teacher: execution,
        student: placed,
        text,
        options,
        known: async (slot) =>
          (await store.find(job(slot))) === undefined ? undefined : loadWeights(await pathOf(slot)),
        report,
      });
      for await (const { slot, weights } of slots)
        await store.run(job(slot), async (folder) => {
          await writeWeights(join(folder, weightsFile), weights);
        });
    });
  }
  return (share) => {
    const stored = async (slot: number): Promise<Weights<StoredTensor>> =>
      between(await storedBlock(input, student, slot), await storedWeights(await pathOf(slot)), share);
    return {
      key: hashOf({ version, ...common, ...(share < 1 && { share }) }),
      stored,
    };
  };
}

const weightsFile = 'weights.safetensors';

export interface RefitOutcome {
  /** Mean KL on the selection text. */
  readonly before: Interval;
  /** At the share of the way that was chosen. */
  readonly after: Interval;
  readonly share: number;
  readonly accepted: boolean;
}

/** Refits the student and says whether text that nothing was fitted on gains by it. */
export async function refitSolution(
  { texts, options }: Prepared,
  students: StudentStageInput,
  student: Student,
  store: Store,
  report: ReportProgress,
): Promise<{ readonly blocks: StudentBlocks; readonly outcome: RefitOutcome }> {
  const { chunkTokens } = options.library;
  const { choice } = student;
  const refitOptions = { ...defaultRefitOptions, chunkTokens };
  const refitted = await refitStage(students, student, texts.refit, refitOptions, store, report);
  const measure = openMeasure(students, texts.selection, store);
  try {
    const before = await measure.kl(student);
    const tried = [];
    for (const share of shares) {
      const blocks = refitted(share);
      tried.push({ share, blocks, kl: await measure.kl({ choice, weights: blocks }) });
    }
    const mean = (kl: Measured): number => meanInterval(kl).value;
    const best = tried.reduce((least, one) => (mean(one.kl) < mean(least.kl) ? one : least));
    // The shortest way that measures no worse: what the selection text cannot tell apart, other text may.
    const { share, blocks, kl } = tried.find((one) => !isLower(best.kl, one.kl))!;
    const outcome = {
      before: meanInterval(before),
      after: meanInterval(kl),
      share,
      accepted: isLower(kl, before),
    };
    return { blocks, outcome };
  } finally {
    await measure.close();
  }
}
