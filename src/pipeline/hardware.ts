/** The hardware of a run: a modelled profile or a measured one, both as a source of costs. */
import { readFile } from 'node:fs/promises';
import {
  blockShape,
  costTable,
  loadProfile,
  measuredProfileSchemaName,
  parseMeasuredProfile,
  withMeasuredTimes,
  type BlockShape,
  type CostTable,
  type Workload,
} from '../hardware/index.ts';
import { blockKey } from '../blocks/index.ts';
import type { BlockConfig, StreamConfig } from '../model/index.ts';
import { parseJson } from '../util/json.ts';

export interface Hardware {
  readonly name: string;
  readonly stack: string;
  /** Where its figures come from, for reports. */
  readonly provenance: readonly string[];
  /** What was measured holds for one workload only. */
  readonly workload?: Workload;
  /** Costs of the alternatives of every slot. Throws `bad-usage` where a measured profile lacks one. */
  costs(
    stream: StreamConfig,
    alternatives: readonly (readonly BlockConfig[])[],
    workload: Workload,
  ): CostTable;
}

/** Bytes and counts do not depend on the device; a measured profile takes them from any. */
const anyProfile = 'generic-cpu';

/**
 * A profile by name (`h100`), or a file: a hardware profile, or what `puzzle profile` measured.
 * @throws PuzzleError `file-missing`, `file-invalid`
 */
export async function openHardware(nameOrFile: string): Promise<Hardware> {
  const measured = await measuredProfile(nameOrFile);
  if (measured !== undefined) return measured;
  const profile = loadProfile(nameOrFile);
  return {
    name: profile.name,
    stack: profile.stack,
    provenance: profile.provenance.map(({ what, source }) => `${what}: ${source}`),
    costs: (stream, alternatives, workload) =>
      costTable(stream, blockShapes(stream, alternatives), workload, profile),
  };
}

async function measuredProfile(path: string): Promise<Hardware | undefined> {
  const text = await readFile(path, 'utf8').catch(() => undefined);
  if (text?.includes(measuredProfileSchemaName) !== true) return undefined;
  const profile = parseMeasuredProfile(parseJson(text, path), path);
  const { device, runtime, date, timings } = profile;
  return {
    name: profile.name,
    stack: runtime,
    workload: profile.workload,
    provenance: [`${timings.length} timings on ${device.description}, ${device.threads} threads, ${date}`],
    costs(stream, alternatives, workload) {
      const table = costTable(stream, blockShapes(stream, alternatives), workload, loadProfile(anyProfile));
      return withMeasuredTimes(table, alternatives, stream, workload, profile);
    },
  };
}

/** Equal blocks share one shape object, so that each distinct one is costed once. */
function blockShapes(
  stream: StreamConfig,
  alternatives: readonly (readonly BlockConfig[])[],
): readonly (readonly BlockShape[])[] {
  const shapes = new Map<string, BlockShape>();
  return alternatives.map((configs) =>
    configs.map((config) => {
      const key = blockKey(config);
      const shape = shapes.get(key) ?? blockShape(config, stream);
      shapes.set(key, shape);
      return shape;
    }),
  );
}
