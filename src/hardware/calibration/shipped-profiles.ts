/** Rebuilds the shipped profiles: one per device and serving stack that the shared collections time, and datasheet ones. */
import { existsSync, readFileSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { PuzzleError } from '../../util/errors.ts';
import { silent } from '../../util/progress.ts';
import type { ReportProgress } from '../../util/progress.ts';
import type { HardwareProfile } from '../profile.ts';
import { calibrate } from './calibrate.ts';
import { datasheetProfile } from './datasheet-profile.ts';
import { knownDevices } from './devices.ts';
import { fitStreaming } from './fit-streaming.ts';
import { readRows } from './read-measurements.ts';

/** Source of the kernel timings, as its README states it. */
const collection = {
  source: 'ai-dynamo/aiconfigurator',
  commit: '095f58a51c4ca8e61b66ec108d86f223f8d559ce',
  licence: 'Apache-2.0',
  date: '2026-11-24',
} as const;

/** Files are named `<device>__<stack>-<version>__<kernel>.csv.gz`. */
const stackNames: Readonly<Record<string, string>> = { trtllm: 'TensorRT-LLM', vllm: 'vLLM' };

interface Collection {
  readonly device: string;
  readonly stack: string;
  readonly version: string;
  readonly files: readonly string[];
}

/** Collections of a folder, by device and stack. */
export function collectionsIn(folder: string): readonly Collection[] {
  if (!existsSync(folder)) {
    throw new PuzzleError('file-missing', 'There is no folder of measurements.', {
      at: folder,
      fix: 'Give --data a folder of files named <device>__<stack>-<version>__<kernel>.csv.gz.',
    });
  }
  const found = new Map<string, Collection & { files: string[] }>();
  for (const file of readdirSync(folder).sort()) {
    const [, device, stack, version] = /^(\w+?)__([a-z]+)-(.+?)__/.exec(file) ?? [];
    if (device === undefined || stack === undefined || version === undefined) continue;
    const key = `${device} ${stack}`;
    const entry = found.get(key) ?? { device: device.replace('_', '-'), stack, version, files: [] };
    entry.files.push(file);
    found.set(key, entry);
  }
  return [...found.values()];
}

/** TensorRT-LLM is a device's first profile; others carry their stack's name. */
const profileName = ({ device, stack }: Collection): string =>
  stack === 'trtllm' ? device : `${device}/${stack}`;

/** Profile of one collection. Kernels that it does not time are taken from the datasheet, marked extrapolated. */
export function collectionProfile(
  folder: string,
  c: Collection,
  report: ReportProgress = silent,
): HardwareProfile {
  const device = knownDevices[c.device];
  if (device === undefined) {
    throw new PuzzleError('file-invalid', 'Measurements of an unknown device.', {
      at: join(folder, c.files[0]!),
      value: c.device,
      fix: `Name one of: ${Object.keys(knownDevices).join(', ')}.`,
    });
  }
  const rows = c.files
    .filter((file) => /gemm|attn_/.test(file))
    .flatMap((file) => [...readRows(join(folder, file))]);
  const kernels = calibrate(rows, device.facts, report);
  const base = datasheetProfile(c.device);
  const reduce = c.files.find((file) => file.includes('allreduce'));
  const vidur = join(folder, `vidur_${c.device.split('-')[0]}_mlp_median_ms.csv.gz`);
  const streaming = existsSync(vidur) ? fitStreaming(vidur, device.facts) : undefined;
  return {
    ...base,
    name: profileName(c),
    stack: `${stackNames[c.stack] ?? c.stack} ${c.version}`,
    gemm: kernels.gemm,
    prefill: kernels.prefill,
    decode: kernels.decode.length > 0 ? kernels.decode : base.decode,
    ...(streaming !== undefined && { streaming }),
    allReduce: reduce === undefined ? [] : readAllReduce(join(folder, reduce)),
    provenance: [
      ...device.provenance,
      {
        what: `gemm, prefill${kernels.decode.length > 0 ? ', decode' : ''}${reduce === undefined ? '' : ', allReduce'}: ${stackNames[c.stack] ?? c.stack} ${c.version}`,
        ...collection,
      },
      ...(streaming === undefined
        ? []
        : [
            {
              what: 'streaming',
              source: 'microsoft/vidur',
              commit: '7d47513363ec447a741ac5e47241580b47724fbf',
              licence: 'MIT',
              date: collection.date,
            },
          ]),
    ],
  };
}

/** Message sizes kept per group: every second power of two. */
function readAllReduce(file: string): HardwareProfile['allReduce'] {
  const byDevices = new Map<number, { bytes: number[]; ms: number[] }>();
  for (const [i, line] of readFileSync(file, 'utf8').trim().split('\n').slice(1).entries()) {
    const [, devices, elements, ms] = line.split(',').map(Number);
    const table = byDevices.get(devices!) ?? { bytes: [], ms: [] };
    byDevices.set(devices!, table);
    // bfloat16: two bytes an element.
    if (i % 2 === 0 || table.bytes.length === 0) {
      table.bytes.push(2 * elements!);
      table.ms.push(Number(ms!.toPrecision(4)));
    }
  }
  return [...byDevices].map(([devices, table]) => ({ devices, ...table }));
}

/** A profile as text: one line for each field, kernel and source, so that a diff shows which kernel changed. */
export function renderProfile(profile: HardwareProfile): string {
  const fields = Object.entries(profile).map(([name, value]) => {
    const text = Array.isArray(value)
      ? `[\n${value.map((item) => `  ${JSON.stringify(item)}`).join(',\n')}\n ]`
      : JSON.stringify(value);
    return ` ${JSON.stringify(name)}: ${text}`;
  });
  return `{\n${fields.join(',\n')}\n}\n`;
}
