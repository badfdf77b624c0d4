/** The score stage: damages of every alternative by replace-one-block, one stored job per slot. */
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { z } from 'zod';
import { blockKey } from '../blocks/index.ts';
import type { BlockConfig } from '../model/index.ts';
import { scoreReplacements, type BlockScore } from '../score/index.ts';
import { hashOf } from '../util/hash.ts';
import { checkAgainst } from '../util/json.ts';
import type { ReportProgress } from '../util/progress.ts';
import type { TrainedLibrary } from './library-stage.ts';
import type { Damage } from './model-scenario.ts';
import { readJobJson, type JobDescription, type Store } from './store.ts';
import type { Teacher } from './teacher.ts';
import type { RunText } from './texts.ts';

/** Raised when the same inputs give other scores. */
const version = 1;

/** What a block's damage may be measured by; all of them are smaller for a better block. */
export const damageMetrics = ['kl', 'lm_loss', 'top1_disagreement'] as const;
export type DamageMetric = (typeof damageMetrics)[number];

const samplesOf: Readonly<Record<DamageMetric, (score: BlockScore) => readonly number[]>> = {
  kl: ({ kl }) => kl,
  lm_loss: ({ loss }) => loss,
  top1_disagreement: ({ agreement }) => agreement.map((share) => 1 - share),
};

export interface ScoredLibrary {
  /** Per slot and alternative. */
  readonly scores: readonly (readonly BlockScore[])[];
  /** The same, as the search takes them: what a block adds to the teacher's own value of the metric. */
  damages(metric: DamageMetric): readonly (readonly Damage[])[];
}

export interface ScoreStageInput {
  readonly teacher: Teacher;
  readonly alternatives: readonly (readonly BlockConfig[])[];
  /** Position of the teacher's own block, per slot. */
  readonly teacherChoice: readonly number[];
  readonly library: TrainedLibrary;
  readonly text: RunText;
  readonly device: string;
}

/** Scores whatever slots the store lacks. */
export async function scoreStage(
  input: ScoreStageInput,
  store: Store,
  report: ReportProgress,
): Promise<ScoredLibrary> {
  const { teacher, alternatives, library, text } = input;
  const jobs = alternatives.map((_, slot) => describeJob(input, slot));
  const found = await Promise.all(jobs.map((job) => store.find(job)));
  const finished = new Set(found.flatMap((job, slot) => (job === undefined ? [] : [slot])));
  if (finished.size < alternatives.length) {
    const scored = scoreReplacements({
      teacher: await teacher.execution(),
      alternatives,
      weights: library.weights,
      text,
      finished,
      report,
    });
    for await (const { slot, scores } of scored) {
      await store.run(jobs[slot]!, (folder) =>
        writeFile(join(folder, scoresFile), `${JSON.stringify(scores)}\n`),
      );
    }
  }
  const scores = await Promise.all(jobs.map((job, slot) => readScores(store, job, alternatives[slot]!)));
  return {
    scores,
    damages: (metric) =>
      scores.map((slot, index) => {
        const own = samplesOf[metric](slot[input.teacherChoice[index]!]!);
        return slot.map((score) => damageOf(samplesOf[metric](score), own));
      }),
  };
}

function describeJob(
  { teacher, alternatives, library, text, device }: ScoreStageInput,
  slot: number,
): JobDescription {
  return {
    stage: 'score',
    version,
    inputs: {
      teacher: teacher.checkpoint.identity,
      text: text.hash,
      slot,
      blocks: hashOf(
        alternatives[slot]!.map((config, index) => [blockKey(config), library.keys[slot]![index]!]),
      ),
      device,
    },
  };
}

const scoresFile = 'scores.json';
const samples = z.array(z.number()).min(1);
const scoresSchema = z.array(
  z.strictObject({
    config: z.looseObject({ kind: z.string() }),
    kl: samples,
    loss: samples,
    agreement: samples,
  }),
);

async function readScores(
  store: Store,
  description: JobDescription,
  alternatives: readonly BlockConfig[],
): Promise<readonly BlockScore[]> {
  const job = await store.find(description);
  if (job === undefined) throw new Error(`job ${store.keyOf(description)} vanished from ${store.root}`);
  const at = join(job.folder, scoresFile);
  const content = await readJobJson(job, scoresFile);
  const scores = checkAgainst(scoresSchema, content, at, 'Remove the store; it will be made again.');
  return scores.map((score, index) => ({ ...score, config: alternatives[index]! }));
}

function damageOf(values: readonly number[], teacher: readonly number[]): Damage {
  const added = Float64Array.from(values, (value, index) => value - teacher[index]!);
  return { samples: added, mean: added.reduce((sum, value) => sum + value, 0) / added.length };
}
