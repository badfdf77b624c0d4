/** `puzzle estimate`: what an architecture costs on a device, from its configuration alone. */
import {
  bestBatch,
  doesNotFit,
  estimate,
  isProfile,
  limits,
  loadProfile,
  roofline,
  rooflinePicture,
  type Estimate,
  type HardwareProfile,
  type Roofline,
} from '../../hardware/index.ts';
import { readArchitecture, type Architecture } from '../../model/index.ts';
import { writeFileAtomically } from '../../util/atomic-file.ts';
import { textTable } from '../../util/text-table.ts';
import { formatAmount, formatNumber } from '../../util/units.ts';
import { defineCommand } from '../command.ts';
import { hardwareOption, servingOptions, wholeNumber, workloadOptions } from '../options.ts';
import { workloadFrom } from '../workload.ts';

/** An architecture on a device. */
interface Column {
  readonly arch: string;
  readonly architecture: Architecture;
  readonly profile: HardwareProfile;
  readonly estimate: Estimate;
}

export const estimateCommand = defineCommand({
  command: 'estimate',
  describe: 'Memory, time and throughput of an architecture on a device, from its configuration alone',
  options: (yargs) =>
    yargs.options({
      ...hardwareOption,
      ...workloadOptions,
      ...servingOptions,
      arch: {
        type: 'string',
        demandOption: true,
        describe: 'config.json, architecture.json, or a folder that holds one',
      },
      batch: {
        type: 'string',
        default: '64',
        describe: 'Requests served together; `best` takes the fastest that fits',
      },
      compare: {
        type: 'string',
        array: true,
        default: [] as string[],
        describe: 'Further hardware profiles and architectures, every one with every other, side by side',
      },
      table: { type: 'boolean', default: false, describe: 'A row for each batch size that fits' },
      roofline: {
        type: 'boolean',
        default: false,
        describe: 'What each block waits for: compute, memory, launch, network',
      },
      svg: { type: 'string', describe: 'File for the picture of the roofline' },
    }),
  async run(args, { print }) {
    const best = args.batch === 'best';
    const workload = workloadFrom({ ...args, batch: best ? 1 : wholeNumber(Number(args.batch), 'batch') });
    const profiles = [args.hw, ...args.compare.filter(isProfile)].map(loadProfile);
    const architectures = [args.arch, ...args.compare.filter((name) => !isProfile(name))].map((arch) => ({
      arch,
      architecture: readArchitecture(arch),
    }));
    const alone = profiles.length * architectures.length === 1;
    const columns = profiles.flatMap((profile) =>
      architectures.map(({ arch, architecture }): Column => {
        const fixed = estimate(architecture, workload, profile);
        // Beside others, one that does not fit at all is still worth its column.
        const useBest = best && (alone || fixed.maxBatch > 0);
        return {
          arch,
          architecture,
          profile,
          estimate: useBest ? bestBatch(architecture, workload, profile) : fixed,
        };
      }),
    );
    const first = columns[0]!;
    if (!first.estimate.fits && alone && !args.table) throw doesNotFit(first.estimate, first.profile);
    const rows = args.table
      ? batchesUpTo(first.estimate.maxBatch).map((batch) =>
          estimate(first.architecture, { ...workload, batch }, first.profile),
        )
      : [];
    const roof =
      args.roofline || args.svg !== undefined
        ? roofline(first.architecture, first.estimate.workload, first.profile)
        : undefined;
    if (roof !== undefined && args.svg !== undefined)
      await writeFileAtomically(
        args.svg,
        rooflinePicture(
          roof,
          `${first.arch} on ${first.profile.name}, batch ${first.estimate.workload.batch}`,
        ),
      );
    print(
      {
        schema: 'puzzle/estimate@1',
        hardware: first.profile.name,
        stack: first.profile.stack,
        ...documentOf(first.estimate),
        ...(args.table && { table: rows.map(documentOf) }),
        ...(!alone && {
          compare: columns.slice(1).map(({ arch, profile, estimate }) => ({
            arch,
            hardware: profile.name,
            stack: profile.stack,
            ...documentOf(estimate),
          })),
        }),
        ...(roof !== undefined && { roofline: roof }),
        ...(args.svg !== undefined && { svg: args.svg }),
      },
      () =>
        [
          profiles.map(({ name, device, stack }) => `${name}: ${device.description}, ${stack}`).join('\n'),
          args.table
            ? textTable(rowsOf(rows.map((row) => [`batch ${row.workload.batch}`, row])))
            : textTable(rowsOf(columns.map((column) => [titleOf(column, args.compare), column.estimate]))),
          ...(roof === undefined ? [] : [rooflineText(roof)]),
          ...(args.svg === undefined ? [] : [`Roofline: ${args.svg}`]),
        ].join('\n\n'),
    );
  },
});

/** What tells a column from the others. */
function titleOf({ arch, profile }: Column, compared: readonly string[]): string {
  const hardwareDiffers = compared.some(isProfile);
  const architectureDiffers = compared.some((name) => !isProfile(name));
  if (hardwareDiffers && architectureDiffers) return `${arch} on ${profile.name}`;
  return hardwareDiffers ? profile.name : arch;
}

/** Powers of two and the largest. */
function batchesUpTo(most: number): readonly number[] {
  const batches: number[] = [];
  for (let batch = 1; batch < most; batch *= 2) batches.push(batch);
  return most === 0 ? [] : [...batches, most];
}

function documentOf(e: Estimate): Record<string, unknown> {
  const { workload, parameters, weightsBytes, kvBytesPerToken, memoryBytes, maxBatch, fits, sources } = e;
  return {
    workload,
    parameters,
    weightsBytes,
    kvBytesPerToken,
    memoryBytes,
    availableBytes: e.availableBytes,
    prefillMs: e.prefillMs.value,
    decodeMsPerToken: e.decodeMsPerToken.value,
    latencyMs: e.latencyMs.value,
    throughputTokensPerSecond: e.throughputTokensPerSecond,
    throughputTokensPerSecondPerDevice: e.throughputTokensPerSecond / workload.tensorParallel,
    fits,
    maxBatch,
    sources,
    /** Of the latency, in ms. */
    errorBand: e.latencyMs.errorBand,
    errorBands: {
      prefillMs: e.prefillMs.errorBand,
      decodeMsPerToken: e.decodeMsPerToken.errorBand,
      latencyMs: e.latencyMs.errorBand,
    },
  };
}

function rowsOf(columns: readonly (readonly [name: string, estimate: Estimate])[]): string[][] {
  const row = (name: string, cell: (e: Estimate) => string): string[] => [
    name,
    ...columns.map(([, e]) => cell(e)),
  ];
  const bytes = (value: number): string => formatAmount(value, 'bytes');
  const time = (value: number): string => formatAmount(value, 'duration');
  const band = ({ errorBand: { low, high } }: Estimate['latencyMs']): string =>
    `${time(low)} to ${time(high)}`;
  return [
    ['', ...columns.map(([name]) => name)],
    row('batch', (e) => String(e.workload.batch)),
    row('parameters', (e) => formatAmount(e.parameters, 'count')),
    row('weights', (e) => bytes(e.memoryBytes.weights)),
    row('KV cache', (e) => bytes(e.memoryBytes.kv)),
    row('activations', (e) => bytes(e.memoryBytes.activations)),
    row('reserve', (e) => bytes(e.memoryBytes.reserve)),
    row('memory', (e) => bytes(e.memoryBytes.total)),
    row('fits', (e) => (e.fits ? 'yes' : `no, ${bytes(e.memoryBytes.total - e.availableBytes)} too much`)),
    row('largest batch', (e) => String(e.maxBatch)),
    row('prefill (TTFT)', (e) => time(e.prefillMs.value)),
    row('  90 % band', (e) => band(e.prefillMs)),
    row('decode per token (TPOT)', (e) => time(e.decodeMsPerToken.value)),
    row('  90 % band', (e) => band(e.decodeMsPerToken)),
    row('latency', (e) => time(e.latencyMs.value)),
    row('  90 % band', (e) => band(e.latencyMs)),
    row('throughput', (e) => formatAmount(e.throughputTokensPerSecond, 'rate')),
    row('  per device', (e) => formatAmount(e.throughputTokensPerSecond / e.workload.tensorParallel, 'rate')),
    row('rests on', (e) =>
      e.sources.map(({ source, share }) => `${source} ${Math.round(100 * share)} %`).join(', '),
    ),
  ];
}

/** Characters of a bar. */
const barWidth = 24;

/** A letter per limit, in the order of `limits`. */
const letters = { compute: 'C', memory: 'M', launch: 'l', network: 'N' } as const;

function rooflineText({ loads, peakFlopsPerSecond, bytesPerSecond }: Roofline): string {
  const ridge = peakFlopsPerSecond / bytesPerSecond;
  const table = textTable([
    ['block', 'times', 'phase', 'time', 'FLOP/byte', 'of the roof', 'waits for', ''],
    ...loads.map(({ name, times, phase, ms, flops, bytes, bound, shares }) => {
      const roof = Math.min(peakFlopsPerSecond, (flops / bytes) * bytesPerSecond);
      return [
        name,
        String(times),
        phase,
        formatAmount(ms, 'duration'),
        formatNumber(Number((flops / bytes).toPrecision(3))),
        `${((100 * flops) / (ms / 1e3) / roof).toFixed(0)} %`,
        bound,
        bar(shares),
      ];
    }),
  ]);
  return `Roofline: ${formatNumber(peakFlopsPerSecond / 1e12)} TFLOP/s, ${formatNumber(bytesPerSecond / 1e12)} TB/s, ridge at ${formatNumber(Number(ridge.toPrecision(3)))} FLOP/byte. Decode: the mean step. C compute, M memory, l launch, N network.

${table}`;
}

/** Whole cells by cumulated share, so that a bar is always full. */
function bar(shares: Roofline['loads'][number]['shares']): string {
  let cumulated = 0;
  let text = '';
  for (const limit of limits) {
    cumulated += shares[limit];
    text = text.padEnd(Math.round(cumulated * barWidth), letters[limit]);
  }
  return text;
}
