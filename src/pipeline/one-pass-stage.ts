/** One-pass scores as a stage: what every block adds along the teacher's Fisher root, one stored job per slot. */
import { join } from 'node:path';
import { onePass } from '../score/index.ts';
import { hashOf } from '../util/hash.ts';
import type { ReportProgress } from '../util/progress.ts';
import { readFloats, writeFloats } from './float-file.ts';
import type { ScoreStageInput } from './score-stage.ts';
import type { JobDescription, Store } from './store.ts';

/** Raised when the same inputs give other projections. */
const version = 1;

/** Per slot and alternative, token after token of the score text; zero for the teacher's own block. */
export type Projections = readonly (readonly Float32Array[])[];

/** Projects whatever slots the store lacks. */
export async function onePassStage(
  input: ScoreStageInput,
  seed: number,
  store: Store,
  report: ReportProgress,
): Promise<Projections> {
  const { teacher, alternatives, library, text } = input;
  const jobs = alternatives.map((_, slot) => describeJob(input, seed, slot));
  const found = await Promise.all(jobs.map((job) => store.find(job)));
  const finished = new Set(found.flatMap((job, slot) => (job === undefined ? [] : [slot])));
  if (finished.size < alternatives.length) {
    const slots = onePass({
      teacher: await teacher.execution(),
      alternatives,
      weights: library.weights,
      text,
      seed,
      finished,
      report,
    });
    for await (const { slot, projections } of slots)
      await store.run(jobs[slot]!, (folder) => writeProjections(join(folder, fileName), projections));
  }
  return Promise.all(
    jobs.map(async (job, slot) => {
      const { folder } = (await store.find(job))!;
      return readProjections(join(folder, fileName), alternatives[slot]!.length);
    }),
  );
}

function describeJob(
  { teacher, library, text, device }: ScoreStageInput,
  seed: number,
  slot: number,
): JobDescription {
  return {
    stage: 'projection',
    version,
    inputs: {
      teacher: teacher.checkpoint.identity,
      text: text.hash,
      seed,
      slot,
      blocks: hashOf(library.keys[slot]! as string[]),
      device,
    },
  };
}

const fileName = 'projections.f32';

/** Alternative after alternative. */
async function writeProjections(path: string, projections: readonly Float32Array[]): Promise<void> {
  const length = projections[0]!.length;
  const all = new Float32Array(projections.length * length);
  projections.forEach((projection, index) => all.set(projection, index * length));
  await writeFloats(path, all);
}

async function readProjections(path: string, count: number): Promise<readonly Float32Array[]> {
  const all = await readFloats(path);
  const length = all.length / count;
  return Array.from({ length: count }, (_, index) => all.slice(index * length, (index + 1) * length));
}
