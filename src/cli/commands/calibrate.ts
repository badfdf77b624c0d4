/** `puzzle calibrate`: measurements -> hardware profiles with fitted models and held-out errors. */
import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import {
  collectionProfile,
  collectionsIn,
  datasheetDevices,
  datasheetProfile,
  estimate,
  loadProfile,
  parseMeasuredProfile,
  profileFileName,
  profileOfBlocks,
  profileOfRows,
  profileOfRun,
  readRows,
  renderProfile,
  throughputTokensPerSecond,
  type HardwareProfile,
} from '../../hardware/index.ts';
import { readArchitecture } from '../../model/index.ts';
import { readText } from '../../tensor/index.ts';
import { writeFileAtomically } from '../../util/atomic-file.ts';
import { PuzzleError } from '../../util/errors.ts';
import { parseJson } from '../../util/json.ts';
import type { ReportProgress } from '../../util/progress.ts';
import { parseAmount, type Quantity } from '../../util/units.ts';
import { defineCommand } from '../command.ts';
import { servingOptions, workloadOptions } from '../options.ts';
import { workloadFrom } from '../workload.ts';

export const calibrateCommand = defineCommand({
  command: 'calibrate [files..]',
  describe: 'Fit hardware profiles to measurements, judged on held-out shapes',
  options: (yargs) =>
    yargs
      .positional('files', {
        type: 'string',
        array: true,
        default: [] as string[],
        describe: 'Own measurements: CSV tables of kernels, or one file that `puzzle profile` wrote',
      })
      .options({
        hw: { type: 'string', describe: 'Profile that own measurements correct (`puzzle hw list`)' },
        name: { type: 'string', default: 'own', describe: 'Name of the profile from own measurements' },
        out: {
          type: 'string',
          describe: 'File of the profile from own measurements (default: NAME.json); else the folder of all',
        },
        arch: { type: 'string', describe: 'With --latency or --throughput: the model that was measured' },
        latency: { type: 'string', describe: 'Measured time of one batch, prompt to last token: 33.7s' },
        throughput: { type: 'string', describe: 'Measured generated tokens a second: 2ktok/s' },
        ...workloadOptions,
        ...servingOptions,
        data: {
          type: 'string',
          default: '../shared/hardware-data',
          describe: 'Without files: folder of <device>__<stack>-<version>__<kernel>.csv.gz',
        },
        only: { type: 'string', describe: 'Without files: only profiles whose device/stack contains this' },
      }),
  async run(args, { print, report }) {
    const ownRun = args.latency !== undefined || args.throughput !== undefined;
    if (args.files.length === 0 && !ownRun) {
      const written = await rebuildShipped(args.data, args.only, args.out ?? 'hardware-profiles', report);
      print({ schema: 'puzzle/calibration@1', written }, () => written.join('\n'));
      return;
    }
    if (args.hw === undefined) {
      throw new PuzzleError('bad-usage', 'Own measurements correct a profile, and none is named.', {
        at: '--hw',
        fix: 'Give --hw the profile nearest to the machine that was measured (`puzzle hw list`).',
      });
    }
    const base = loadProfile(args.hw);
    const origin = {
      name: args.name,
      source: args.files.join(', '),
      date: new Date().toISOString().slice(0, 10),
    };
    const kernels =
      args.files.length === 0
        ? base
        : args.files.some((file) => file.endsWith('.json'))
          ? profileOfBlocks(await measuredProfile(args.files), base, origin)
          : profileOfRows(
              args.files.flatMap((file) => [...readRows(file)]),
              base,
              origin,
              report,
            );
    const profile = ownRun ? calibratedRun(kernels, args) : kernels;
    const file = args.out ?? `${args.name}.json`;
    await writeFileAtomically(file, renderProfile(profile));
    const heldOut = [...profile.gemm, ...profile.prefill, ...profile.decode].flatMap(({ model }) =>
      model.heldOut === undefined ? [] : [model.heldOut],
    );
    print({ schema: 'puzzle/calibration@1', written: [file], heldOut, endToEnd: profile.endToEnd }, () =>
      [
        `${file}: see \`puzzle hw show ${file}\`.`,
        ...(profile.endToEnd === undefined
          ? []
          : [`Whole runs take ${profile.endToEnd.factor} times the sum of their kernels.`]),
      ].join('\n'),
    );
  },
});

async function rebuildShipped(
  data: string,
  only: string | undefined,
  out: string,
  report: ReportProgress,
): Promise<readonly string[]> {
  await mkdir(out, { recursive: true });
  const written: string[] = [];
  const isAsked = (name: string): boolean => only === undefined || name.includes(only);
  const write = async (profile: HardwareProfile): Promise<void> => {
    const file = join(out, profileFileName(profile.name));
    await writeFileAtomically(file, renderProfile(profile));
    written.push(file);
  };
  for (const collection of collectionsIn(data)) {
    if (isAsked(`${collection.device}/${collection.stack}`))
      await write(collectionProfile(data, collection, report));
  }
  for (const device of datasheetDevices(data)) if (isAsked(device)) await write(datasheetProfile(device));
  return written;
}

async function measuredProfile(files: readonly string[]): Promise<ReturnType<typeof parseMeasuredProfile>> {
  const [file, ...others] = files;
  if (others.length > 0) {
    throw new PuzzleError('bad-usage', 'One measured profile at a time, and no tables beside it.', {
      at: 'files',
      value: files.join(' '),
      fix: 'Time all batches in one run: puzzle profile --batch 1,4,16.',
    });
  }
  return parseMeasuredProfile(parseJson(await readText(file!), file!), file!);
}

function calibratedRun(
  base: HardwareProfile,
  args: Parameters<typeof workloadFrom>[0] & {
    readonly arch?: string | undefined;
    readonly latency?: string | undefined;
    readonly throughput?: string | undefined;
    readonly name: string;
  },
): HardwareProfile {
  const { arch, latency, throughput, name } = args;
  if (arch === undefined || (latency !== undefined && throughput !== undefined)) {
    throw new PuzzleError('bad-usage', 'A measured run is one architecture and one number.', {
      at: arch === undefined ? '--arch' : '--throughput',
      fix: 'Give --arch, and either --latency or --throughput.',
    });
  }
  const predicted = estimate(readArchitecture(arch), workloadFrom(args), base);
  const number = (text: string, quantity: Quantity, flag: string): number => {
    const amount = parseAmount(text, quantity, flag);
    if (amount.kind === 'absolute') return amount.value;
    throw new PuzzleError('bad-unit', `${flag} ${text}: takes a measured number`, {
      at: flag,
      value: text,
      fix: 'Write it like 33.7s or 2ktok/s.',
    });
  };
  const latencyMs =
    latency !== undefined
      ? number(latency, 'duration', '--latency')
      : throughputTokensPerSecond(predicted.workload, number(throughput!, 'rate', '--throughput'));
  return profileOfRun(predicted, latencyMs, base, {
    name,
    source: `own run of ${arch}, ${latency ?? throughput}`,
    date: new Date().toISOString().slice(0, 10),
  });
}
