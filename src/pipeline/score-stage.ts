/** Replace-one scores as a stage: one stored job per block, so that a wider space scores only what is new in it. */
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { z } from 'zod';
import { sameBlock } from '../blocks/index.ts';
import type { Execution } from '../execution/index.ts';
import type { BlockConfig } from '../model/index.ts';
import { scoreReplacements, type BlockScore } from '../score/index.ts';
import { hashOf } from '../util/hash.ts';
import { checkAgainst } from '../util/json.ts';
import type { ReportProgress } from '../util/progress.ts';
import type { TrainedLibrary } from './library-stage.ts';
import { readJobJson, type JobDescription, type Store } from './store.ts';
import type { Teacher } from './teacher.ts';
import type { RunText } from './texts.ts';

/** Raised when the same inputs give other scores. */
const version = 2;

export interface ScoreStageInput {
  readonly teacher: Teacher;
  readonly alternatives: readonly (readonly BlockConfig[])[];
  readonly library: TrainedLibrary;
  readonly text: RunText;
  readonly device: string;
}

/** A student in which blocks are replaced, in place of the teacher. */
export interface ScoreBase {
  /** Position of its block among the alternatives, per slot. */
  readonly choice: readonly number[];
  /** Runs with the student placed; called only when something is missing from the store. */
  within<T>(use: (student: Execution) => Promise<T>): Promise<T>;
}

/** Position of an alternative. */
export interface BlockPlace {
  readonly slot: number;
  readonly position: number;
}

/** Scores whatever of these blocks the store lacks; the answers are in the order of `places`. */
export async function scoreStage(
  input: ScoreStageInput,
  places: readonly BlockPlace[],
  store: Store,
  report: ReportProgress,
  base?: ScoreBase,
): Promise<readonly BlockScore[]> {
  const { teacher, alternatives, library, text } = input;
  const jobs = places.map((place) => describeJob(input, place, base));
  const found = await Promise.all(jobs.map((job) => store.find(job)));
  const missing = alternatives.map((): number[] => []);
  places.forEach(({ slot, position }, index) => {
    if (found[index] === undefined && !missing[slot]!.includes(position)) missing[slot]!.push(position);
  });
  if (missing.some((positions) => positions.length > 0)) {
    const execution = await teacher.execution();
    const run = async (model: Execution): Promise<void> => {
      const scored = scoreReplacements({
        teacher: execution,
        base: model,
        alternatives: missing.map((positions, slot) =>
          positions.map((position) => alternatives[slot]![position]!),
        ),
        // In a student, the teacher's own block is an alternative like any other.
        weights: (slot, config) =>
          sameBlock(config, teacher.checkpoint.architecture.slots[slot]!.block)
            ? teacher.source.blockWeights(slot)
            : library.weights(slot, config),
        text,
        report,
      });
      for await (const { slot, scores } of scored)
        for (const [index, score] of scores.entries()) {
          const job = describeJob(input, { slot, position: missing[slot]![index]! }, base);
          await store.run(job, (folder) =>
            writeFile(join(folder, scoreFile), `${JSON.stringify(samplesOf(score))}\n`),
          );
        }
    };
    await (base ? base.within(run) : run(execution));
  }
  return Promise.all(
    jobs.map((job, index) => {
      const { slot, position } = places[index]!;
      return readScore(store, job, alternatives[slot]![position]!);
    }),
  );
}

function describeJob(
  { teacher, library, text, device }: ScoreStageInput,
  { slot, position }: BlockPlace,
  base: ScoreBase | undefined,
): JobDescription {
  return {
    stage: 'score',
    version,
    inputs: {
      teacher: teacher.checkpoint.identity,
      text: text.hash,
      slot,
      block: library.keys[slot]![position]!,
      base:
        base === undefined ? null : hashOf(base.choice.map((chosen, other) => library.keys[other]![chosen]!)),
      device,
    },
  };
}

const scoreFile = 'score.json';
const samples = z.array(z.number()).min(1);
const scoreSchema = z.strictObject({ kl: samples, loss: samples, agreement: samples });

const samplesOf = ({ kl, loss, agreement }: BlockScore): z.infer<typeof scoreSchema> => ({
  kl: [...kl],
  loss: [...loss],
  agreement: [...agreement],
});

async function readScore(
  store: Store,
  description: JobDescription,
  config: BlockConfig,
): Promise<BlockScore> {
  const job = await store.find(description);
  if (job === undefined) throw new Error(`job ${store.keyOf(description)} vanished from ${store.root}`);
  const at = join(job.folder, scoreFile);
  const content = await readJobJson(job, scoreFile);
  return { config, ...checkAgainst(scoreSchema, content, at, 'Remove the store; it will be made again.') };
}
