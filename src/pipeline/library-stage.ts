/** The library stage: one stored job per trained block, so that a wider space trains only what is new in it. */
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { z } from 'zod';
import { blockOf, type Weights } from '../blocks/index.ts';
import { buildLibrary, type BlockRecord, type BlockWeights, type LibraryOptions } from '../library/index.ts';
import type { BlockConfig } from '../model/index.ts';
import type { StoredTensor, Tensor } from '../tensor/index.ts';
import type { Json } from '../util/hash.ts';
import { checkAgainst } from '../util/json.ts';
import type { ReportProgress } from '../util/progress.ts';
import { loadWeights, storedWeights, writeWeights } from './block-file.ts';
import { readFloats, writeFloats } from './float-file.ts';
import { sensitivityStage } from './sensitivity-stage.ts';
import { readJobJson, type FinishedJob, type JobDescription, type Store } from './store.ts';
import type { Teacher } from './teacher.ts';
import type { RunTexts } from './texts.ts';

/** Raised when the same inputs give other blocks. */
const version = 4;

export interface TrainedLibrary {
  /** Per slot and alternative. */
  readonly records: readonly (readonly BlockRecord[])[];
  /** Store keys of the blocks, per slot and alternative: what a score or a student depends on. */
  readonly keys: readonly (readonly string[])[];
  readonly weights: BlockWeights;
  /** Mean |feature| of the teacher's block in a slot. */
  meanAbsFeature(slot: number): Promise<Float32Array>;
  /** Weights of a block, unread. */
  stored(slot: number, config: BlockConfig): Promise<Weights<StoredTensor>>;
}

export interface LibraryStageInput {
  readonly teacher: Teacher;
  readonly texts: RunTexts;
  readonly alternatives: readonly (readonly BlockConfig[])[];
  readonly options: LibraryOptions;
  readonly device: string;
}

/** Trains whatever blocks the store lacks. Throws what `buildLibrary` throws, `disk-full`, `not-writable`. */
export async function libraryStage(
  input: LibraryStageInput,
  store: Store,
  report: ReportProgress,
): Promise<TrainedLibrary> {
  const { teacher, texts, alternatives, options } = input;
  const describe = describeJobs(input);
  const missing = await Promise.all(
    alternatives.map(async (configs, slot) => {
      const found = await Promise.all(configs.map((config) => store.find(describe.block(slot, config))));
      const statistics = await store.find(describe.statistics(slot));
      // Without statistics the slot is passed again even where every block is there.
      return statistics === undefined ? configs : configs.filter((_, index) => found[index] === undefined);
    }),
  );
  const finished = new Set(missing.flatMap((configs, slot) => (configs.length === 0 ? [slot] : [])));
  if (finished.size < alternatives.length) {
    const sensitivity = await sensitivityStage(input, store, report);
    const slots = buildLibrary({
      teacher: await teacher.execution(),
      ...(sensitivity && { sensitivity }),
      alternatives: missing,
      calibration: texts.calibration,
      validation: texts.validation,
      options,
      finished,
      report,
    });
    for await (const { slot, blocks, meanAbsFeature } of slots) {
      for (const { record, weights } of blocks) {
        await store.run(describe.block(slot, record.config), (folder) => writeBlock(folder, record, weights));
      }
      await store.run(describe.statistics(slot), (folder) =>
        writeFloats(join(folder, featureFile), meanAbsFeature),
      );
    }
  }
  return openLibrary(input, store, describe);
}

interface JobNames {
  block(slot: number, config: BlockConfig): JobDescription;
  statistics(slot: number): JobDescription;
}

function describeJobs({ teacher, texts, options, device }: LibraryStageInput): JobNames {
  const common = {
    teacher: teacher.checkpoint.identity,
    calibration: texts.calibration.hash,
    validation: texts.validation.hash,
    chunkTokens: options.chunkTokens,
    device,
  };
  return {
    block: (slot, config) => ({
      stage: 'block',
      version,
      inputs: {
        ...common,
        slot,
        config,
        ranking: options.ranking,
        tokenWeights: options.tokenWeights ?? 'none',
        sensitivityTokens: options.sensitivityTokens ?? 0,
        distil: (options.distil[config.kind] ?? null) as unknown as Json,
      },
    }),
    statistics: (slot) => ({ stage: 'statistics', version, inputs: { ...common, slot } }),
  };
}

const recordFile = 'record.json';
const weightsFile = 'weights.safetensors';
const featureFile = 'mean-abs-feature.f32';

async function writeBlock(
  folder: string,
  record: BlockRecord,
  weights: Weights<Tensor<'float32'>>,
): Promise<void> {
  await writeFile(join(folder, recordFile), `${JSON.stringify(record)}\n`);
  if (Object.keys(weights).length > 0) await writeWeights(join(folder, weightsFile), weights);
}

const loss = z
  .number()
  .nullable()
  .transform((value) => value ?? Number.NaN);
const recordSchema = z.strictObject({
  config: z.looseObject({ kind: z.string() }),
  kept: z.enum(['none', 'paper', 'closed-form', 'distilled']),
  losses: z.strictObject({
    paper: loss.optional(),
    closedForm: loss.optional(),
    distilled: loss.optional(),
    kept: loss,
  }),
  ranking: z.string().optional(),
  steps: z.number(),
});

async function openLibrary(
  { alternatives }: LibraryStageInput,
  store: Store,
  describe: JobNames,
): Promise<TrainedLibrary> {
  const finished = async (description: JobDescription): Promise<FinishedJob> => {
    const job = await store.find(description);
    if (job === undefined) throw new Error(`job ${store.keyOf(description)} vanished from ${store.root}`);
    return job;
  };
  const jobs = await Promise.all(
    alternatives.map((configs, slot) =>
      Promise.all(configs.map((config) => finished(describe.block(slot, config)))),
    ),
  );
  const records = await Promise.all(
    jobs.map((row) =>
      Promise.all(
        row.map(async (job) => {
          const at = join(job.folder, recordFile);
          const content = await readJobJson(job, recordFile);
          return checkAgainst(
            recordSchema,
            content,
            at,
            'Remove the store; it will be made again.',
          ) as BlockRecord;
        }),
      ),
    ),
  );
  const weightsPath = async (slot: number, config: BlockConfig): Promise<string> =>
    join((await finished(describe.block(slot, config))).folder, weightsFile);
  return {
    records,
    keys: jobs.map((row) => row.map(({ key }) => key)),
    stored: async (slot, config) =>
      blockOf(config).output === undefined ? {} : storedWeights(await weightsPath(slot, config)),
    weights: async (slot, config) => loadWeights(await weightsPath(slot, config)),
    async meanAbsFeature(slot) {
      const { folder } = await finished(describe.statistics(slot));
      return readFloats(join(folder, featureFile));
    },
  };
}
