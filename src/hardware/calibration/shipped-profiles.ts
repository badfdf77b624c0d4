/** Rebuilds the shipped profiles: one per device and serving stack that the shared collections time, and datasheet ones. */
import { existsSync, readFileSync, readdirSync } from 'node:fs';
import { basename, join } from 'node:path';
import { PuzzleError } from '../../util/errors.ts';
import { silent } from '../../util/progress.ts';
import type { ReportProgress } from '../../util/progress.ts';
import type { AttentionKernel, HardwareProfile } from '../profile.ts';
import { calibrate } from './calibrate.ts';
import { datasheetProfile } from './datasheet-profile.ts';
import { knownDevices } from './devices.ts';
import { fitFp8Scale, fitVidur } from './fit-streaming.ts';
import { readRows } from './read-measurements.ts';
import type { MeasuredRow } from './read-measurements.ts';

/** Source of the kernel timings, as its README states it. */
const collection = {
  source: 'ai-dynamo/aiconfigurator',
  commit: '095f58a51c4ca8e61b66ec108d86f223f8d559ce',
  licence: 'Apache-2.0',
  date: '2026-11-24',
} as const;

/** Source of the medians of memory-bound operators. */
const vidurSource = {
  source: 'microsoft/vidur',
  commit: '7d47513363ec447a741ac5e47241580b47724fbf',
  licence: 'MIT',
} as const;

/** Files are named `<device>__<stack>-<version>__<kernel>.csv.gz`. */
const deviceNames: Readonly<Record<string, string>> = { b200_sxm: 'b200' };
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
    const entry = found.get(key) ?? {
      device: deviceNames[device] ?? device.replace('_', '-'),
      stack,
      version,
      files: [],
    };
    entry.files.push(file);
    found.set(key, entry);
  }
  return [...found.values()];
}

/** TensorRT-LLM is a device's first profile; others carry their stack's name. */
const profileName = ({ device, stack }: Collection): string =>
  stack === 'trtllm' ? device : `${device}/${stack}`;

const stackOf = ({ stack, version }: Collection): string => `${stackNames[stack] ?? stack} ${version}`;

/** Devices of which we have datasheets and no timings. */
export const datasheetDevices = (folder: string): readonly string[] => {
  const timed = new Set(collectionsIn(folder).map(({ device }) => device));
  return Object.keys(knownDevices).filter((name) => !timed.has(name));
};

/**
 * Profile of one collection. Decode that it does not time is taken from the device's other stack, the rest of what it
 * lacks from the datasheet; both are marked extrapolated.
 */
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
  const { facts, provenance } = device;
  const fileOf = (files: readonly string[], kernel: string): string | undefined => {
    const file = files.find((name) => name.includes(kernel));
    return file === undefined ? undefined : join(folder, file);
  };
  const rows = (files: readonly string[]): readonly MeasuredRow[] =>
    ['gemm', 'attn_context', 'attn_generation'].flatMap((kernel) => {
      const file = fileOf(files, kernel);
      return file === undefined ? [] : [...readRows(file)];
    });
  const kernels = calibrate(rows(c.files), facts, report);
  const lender =
    kernels.decode.length > 0
      ? undefined
      : collectionsIn(folder).find(
          ({ device: name, files }) => name === c.device && fileOf(files, 'attn_generation') !== undefined,
        );
  const reduce = fileOf(c.files, 'allreduce');
  const scale = fileOf(c.files, 'computescale');
  const vidur = fileOf(readdirSync(folder), `vidur_${c.device.split('-')[0]}_mlp_median_ms`);
  const timed = [
    'gemm',
    'prefill',
    ...(kernels.decode.length > 0 ? ['decode'] : []),
    ...(scale === undefined ? [] : ['fp8Scale']),
    ...(reduce === undefined ? [] : ['allReduce']),
  ];
  const base = datasheetProfile(c.device);
  return {
    ...base,
    name: profileName(c),
    stack: stackOf(c),
    ...kernels,
    ...(kernels.decode.length === 0 && {
      decode:
        lender === undefined
          ? base.decode
          : calibrate(rows([basename(fileOf(lender.files, 'attn_generation')!)]), facts, report).decode.map(
              borrowed,
            ),
    }),
    ...(vidur !== undefined && { streaming: fitVidur(vidur, facts) }),
    ...(scale !== undefined && { fp8Scale: fitFp8Scale(scale, facts) }),
    allReduce: reduce === undefined ? [] : readAllReduce(reduce),
    provenance: [
      ...provenance,
      { what: `${timed.join(', ')}: ${stackOf(c)}`, ...collection },
      ...(lender === undefined ? [] : [{ what: `decode: ${stackOf(lender)}, a stand-in`, ...collection }]),
      ...(vidur === undefined ? [] : [{ what: 'streaming', ...vidurSource, date: collection.date }]),
    ],
  };
}

/** Attention of two stacks differs by 20 to 25 % (../shared/hardware-data/README.md). */
const otherStack = 1.25;

/** A kernel of another stack: no held-out errors of its own, so all its times count as extrapolated. */
function borrowed({ model: { heldOut: _, bands, ...model }, ...kernel }: AttentionKernel): AttentionKernel {
  return {
    ...kernel,
    model: {
      ...model,
      bands: bands.map(({ low, high, ...range }) => ({
        ...range,
        low: low / otherStack,
        high: high * otherStack,
      })),
    },
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
