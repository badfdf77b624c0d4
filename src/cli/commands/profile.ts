/** `puzzle profile`: times every distinct block of a space on this machine and writes a measured profile. */
import { availableParallelism } from 'node:os';
import { alternativesOf, loadSpace } from '../../blocks/index.ts';
import { openModel } from '../../model/index.ts';
import { bundledTeacher, openStore, profileStage } from '../../pipeline/index.ts';
import type { MeasuredProfile } from '../../hardware/index.ts';
import { writeFileAtomically } from '../../util/atomic-file.ts';
import { textTable } from '../../util/text-table.ts';
import { formatAmount } from '../../util/units.ts';
import { defineCommand } from '../command.ts';
import { deviceOptions, modelOption, storeOption, wholeNumber } from '../options.ts';
import { workloadFrom } from '../workload.ts';

export const profileCommand = defineCommand({
  command: 'profile',
  describe: 'Time every distinct block of a search space on this machine',
  options: (yargs) =>
    yargs.options({
      ...modelOption,
      space: { type: 'string', default: 'default', describe: 'Search space whose blocks are timed' },
      batch: { type: 'string', default: '1', describe: 'Requests served together: 1, or several as 1,4,16' },
      input: { type: 'number', default: 128, describe: 'Prompt tokens a request' },
      output: { type: 'number', default: 128, describe: 'Generated tokens a request' },
      out: {
        type: 'string',
        default: 'measured-profile.json',
        describe: 'File to write, for `puzzle search --hw FILE`',
      },
      ...deviceOptions,
      ...storeOption,
    }),
  async run(args, { print, report }) {
    const threads = wholeNumber(args.threads ?? availableParallelism(), 'threads', 1, 1024);
    const batches = args.batch.split(',').map((text) => wholeNumber(Number(text), 'batch'));
    const store = await openStore(args.store);
    const checkpoint = await openModel(args.model ?? bundledTeacher);
    try {
      const { architecture } = checkpoint;
      const profile = await profileStage(
        {
          stream: architecture.stream,
          alternatives: alternativesOf(await loadSpace(args.space), architecture),
          workload: workloadFrom({ ...args, batch: batches[0], weights: 'fp32', kv: 'fp32', tp: 1 }),
          otherBatches: batches.slice(1),
          device: args.device,
          threads,
          name: `measured-${args.device}`,
        },
        store,
        report,
      );
      await writeFileAtomically(args.out, `${JSON.stringify(profile, null, 1)}\n`);
      print({ ...profile, file: args.out }, () =>
        [
          textTable([
            ['part', 'one pass', '90 % of repeats', 'repeats', 'outliers'],
            ...profile.timings.map(({ part, ms, lowMs, highMs, repeats, outliers }) => [
              part,
              formatAmount(ms, 'duration'),
              `${formatAmount(lowMs, 'duration')} to ${formatAmount(highMs, 'duration')}`,
              String(repeats),
              String(outliers),
            ]),
          ]),
          ...warningsOf(profile, threads),
          `Measured profile: ${args.out}`,
        ].join('\n\n'),
      );
    } finally {
      await checkpoint.close();
    }
  },
});

/** Spread beyond which a median may be off by more than the 10 % that a prediction may. */
const wideSpread = 0.3;

function warningsOf({ timings, conditions }: MeasuredProfile, threads: number): readonly string[] {
  const wide = timings.filter(({ ms, lowMs, highMs }) => highMs - lowMs > wideSpread * ms);
  const { before, after } = conditions;
  const clock =
    before.clockMHz === undefined || after.clockMHz === undefined
      ? ''
      : ` Clock ${before.clockMHz} MHz before, ${after.clockMHz} MHz after.`;
  const heat = after.temperatureC === undefined ? '' : ` ${after.temperatureC} degrees C.`;
  return [
    ...(wide.length === 0
      ? []
      : [
          `${wide.length} of ${timings.length} parts spread by more than ${100 * wideSpread} %: other programs ran (load ${after.load} on ${threads} threads). Close them, remove the store, measure again.`,
        ]),
    `Load ${before.load} before, ${after.load} after.${clock}${heat}`,
  ];
}
