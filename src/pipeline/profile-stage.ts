/** The profile stage: every distinct part of a space timed on this machine, one stored job each. */
import { writeFile } from 'node:fs/promises';
import { cpus } from 'node:os';
import { join } from 'node:path';
import { z } from 'zod';
import {
  blockShares,
  conditions,
  headShares,
  measuredProfileSchemaName,
  partKey,
  timePart,
  type MeasuredProfile,
  type Timed,
  type Workload,
} from '../hardware/index.ts';
import { blockParameters } from '../blocks/index.ts';
import type { BlockConfig, StreamConfig } from '../model/index.ts';
import { openRuntime, runtimeVersion, type Device } from '../runtime/index.ts';
import { checkAgainst } from '../util/json.ts';
import type { ReportProgress } from '../util/progress.ts';
import { readJobJson, type Store } from './store.ts';

/** Raised when the same part is timed another way. */
const version = 3;

export interface ProfileStageInput {
  readonly stream: StreamConfig;
  readonly alternatives: readonly (readonly BlockConfig[])[];
  /** Formats must be float32: what is timed is. */
  readonly workload: Workload;
  /** Further batches to time beside the workload's. */
  readonly otherBatches?: readonly number[];
  readonly device: Device;
  readonly threads: number;
  readonly name: string;
}

/** Times whatever the store lacks for this machine. Throws `device-unavailable`. */
export async function profileStage(
  input: ProfileStageInput,
  store: Store,
  report: ReportProgress,
): Promise<MeasuredProfile> {
  const { stream, alternatives, workload, device, threads, name } = input;
  const batches = [...new Set([workload.batch, ...(input.otherBatches ?? [])])];
  const shares = batches.flatMap((batch) => [
    ...headShares({ ...workload, batch }),
    ...alternatives.flat().flatMap((config) => blockShares(config, { ...workload, batch })),
  ]);
  const parts = new Map<string, Timed>(shares.map(({ timed }) => [partKey(timed, stream), timed]));
  const description = `${device} ${cpus()[0]?.model ?? 'unknown'}`;
  const runtime = await openRuntime({ device, threads });
  const timings: MeasuredProfile['timings'] = [];
  const modelBytes = 4 * largestParameters(alternatives, stream);
  const before = conditions();
  report({ kind: 'stage-started', stage: 'profile', total: parts.size, unit: 'parts' });
  try {
    for (const [part, timed] of parts) {
      report({ kind: 'advanced', stage: 'profile', done: timings.length, note: part });
      const job = await store.run(
        {
          stage: 'timing',
          version,
          inputs: { part, description, threads, modelBytes, runtime: runtimeVersion },
        },
        async (folder) => {
          const timing = await timePart(timed, stream, modelBytes, runtime);
          await writeFile(join(folder, timingFile), `${JSON.stringify({ part, ...timing })}\n`);
        },
      );
      const at = join(job.folder, timingFile);
      timings.push({
        timed,
        ...checkAgainst(
          timingSchema,
          await readJobJson(job, timingFile),
          at,
          'Remove the store; it will be made again.',
        ),
      });
    }
  } finally {
    await runtime.close();
  }
  report({ kind: 'stage-finished', stage: 'profile' });
  return {
    schema: measuredProfileSchemaName,
    name,
    device: { kind: device, description, threads },
    runtime: `onnxruntime-node ${runtimeVersion}`,
    conditions: { before, after: conditions() },
    date: new Date().toISOString().slice(0, 10),
    workload,
    batches,
    stream: { hidden: stream.hidden, vocabularySize: stream.vocabularySize },
    timings,
  };
}

/** Of the blocks of the largest model of a space: how much of it a processor's caches can hold. */
const largestParameters = (alternatives: readonly (readonly BlockConfig[])[], stream: StreamConfig): number =>
  alternatives.reduce(
    (sum, configs) => sum + Math.max(0, ...configs.map((config) => blockParameters(config, stream))),
    0,
  );

const timingFile = 'timing.json';
const timingSchema = z.strictObject({
  part: z.string(),
  ms: z.number(),
  lowMs: z.number(),
  highMs: z.number(),
  repeats: z.number(),
  outliers: z.number(),
});
