/** `puzzle estimate`: what an architecture costs on a device, from its configuration alone. */
import { bestBatch, doesNotFit, estimate, loadProfile, type Estimate } from '../../hardware/index.ts';
import { readArchitecture } from '../../model/index.ts';
import { textTable } from '../../util/text-table.ts';
import { formatAmount } from '../../util/units.ts';
import { defineCommand } from '../command.ts';
import { hardwareOption, wholeNumber, workloadOptions } from '../options.ts';
import { workloadFrom } from '../workload.ts';

export const estimateCommand = defineCommand({
  command: 'estimate',
  describe: 'Memory, time and throughput of an architecture on a device, from its configuration alone',
  options: (yargs) =>
    yargs.options({
      ...hardwareOption,
      ...workloadOptions,
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
      compare: { type: 'string', array: true, describe: 'Further architectures, shown beside the first' },
      table: { type: 'boolean', default: false, describe: 'A row for each batch size that fits' },
    }),
  async run(args, { print }) {
    const profile = loadProfile(args.hw);
    const best = args.batch === 'best';
    const workload = workloadFrom({ ...args, batch: best ? 1 : wholeNumber(Number(args.batch), 'batch') });
    const estimateOf = (path: string): Estimate => {
      const architecture = readArchitecture(path);
      return best ? bestBatch(architecture, workload, profile) : estimate(architecture, workload, profile);
    };
    const first = estimateOf(args.arch);
    if (!first.fits && !args.table) throw doesNotFit(first, profile);
    const others = (args.compare ?? []).map((path) => ({ path, estimate: estimateOf(path) }));
    const table = args.table
      ? tableOver(first.maxBatch, (batch) =>
          estimate(readArchitecture(args.arch), { ...workload, batch }, profile),
        )
      : [];
    print(
      {
        schema: 'puzzle/estimate@1',
        hardware: profile.name,
        stack: profile.stack,
        ...documentOf(first),
        ...(args.table && { table: table.map(documentOf) }),
        ...(others.length > 0 && {
          compare: others.map(({ path, estimate }) => ({ arch: path, ...documentOf(estimate) })),
        }),
      },
      () => {
        const columns = args.table
          ? table.map((row) => [`batch ${row.workload.batch}`, row] as const)
          : [[args.arch, first] as const, ...others.map(({ path, estimate }) => [path, estimate] as const)];
        return `${profile.device.description}, ${profile.stack}\n\n${textTable(rowsOf(columns))}`;
      },
    );
  },
});

function tableOver(most: number, at: (batch: number) => Estimate): readonly Estimate[] {
  const batches: number[] = [];
  for (let batch = 1; batch < most; batch *= 2) batches.push(batch);
  return most === 0 ? [] : [...batches, most].map(at);
}

function documentOf(e: Estimate): Record<string, unknown> {
  const { workload, parameters, weightsBytes, kvBytesPerToken, memoryBytes, maxBatch, fits, sources } = e;
  return {
    workload,
    parameters,
    weightsBytes,
    kvBytesPerToken,
    memoryBytes,
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
  };
}

function rowsOf(columns: readonly (readonly [name: string, estimate: Estimate])[]): string[][] {
  const row = (name: string, cell: (e: Estimate) => string): string[] => [
    name,
    ...columns.map(([, e]) => cell(e)),
  ];
  const bytes = (value: number): string => formatAmount(value, 'bytes');
  const time = (value: number): string => formatAmount(value, 'duration');
  return [
    ['', ...columns.map(([name]) => name)],
    row('parameters', (e) => formatAmount(e.parameters, 'count')),
    row('weights', (e) => bytes(e.memoryBytes.weights)),
    row('KV cache', (e) => bytes(e.memoryBytes.kv)),
    row('activations', (e) => bytes(e.memoryBytes.activations)),
    row('reserve', (e) => bytes(e.memoryBytes.reserve)),
    row('memory', (e) => bytes(e.memoryBytes.total)),
    row('largest batch', (e) => String(e.maxBatch)),
    row('prefill', (e) => time(e.prefillMs.value)),
    row('decode per token', (e) => time(e.decodeMsPerToken.value)),
    row('latency', (e) => time(e.latencyMs.value)),
    row('90 % band', (e) => `${time(e.latencyMs.errorBand.low)} to ${time(e.latencyMs.errorBand.high)}`),
    row('throughput', (e) => formatAmount(e.throughputTokensPerSecond, 'rate')),
    row('rests on', (e) =>
      e.sources.map(({ source, share }) => `${source} ${Math.round(100 * share)} %`).join(', '),
    ),
  ];
}
