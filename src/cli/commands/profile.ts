/** `puzzle profile`: times every distinct block of a space on this machine and writes a measured profile. */
import { availableParallelism } from 'node:os';
import { alternativesOf, loadSpace } from '../../blocks/index.ts';
import { openModel } from '../../model/index.ts';
import { bundledTeacher, openStore, profileStage } from '../../pipeline/index.ts';
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
      batch: { type: 'number', default: 1, describe: 'Requests served together' },
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
    const store = await openStore(args.store);
    const checkpoint = await openModel(args.model ?? bundledTeacher);
    try {
      const { architecture } = checkpoint;
      const profile = await profileStage(
        {
          stream: architecture.stream,
          alternatives: alternativesOf(await loadSpace(args.space), architecture),
          workload: workloadFrom({ ...args, weights: 'fp32', kv: 'fp32', tp: 1 }),
          device: args.device,
          threads: wholeNumber(args.threads ?? availableParallelism(), 'threads', 1, 1024),
          name: `measured-${args.device}`,
        },
        store,
        report,
      );
      await writeFileAtomically(args.out, `${JSON.stringify(profile, null, 1)}\n`);
      print({ ...profile, file: args.out }, () =>
        [
          textTable([
            ['part', 'one pass', '90 % of repeats', 'repeats'],
            ...profile.timings.map(({ part, medianMs, lowMs, highMs, repeats }) => [
              part,
              formatAmount(medianMs, 'duration'),
              `${formatAmount(lowMs, 'duration')} to ${formatAmount(highMs, 'duration')}`,
              String(repeats),
            ]),
          ]),
          `Measured profile: ${args.out}`,
        ].join('\n\n'),
      );
    } finally {
      await checkpoint.close();
    }
  },
});
