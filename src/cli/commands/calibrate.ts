/** `puzzle calibrate`: measured kernel latencies -> hardware profiles with fitted models and held-out errors. */
import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { collectionProfile, collectionsIn, profileFileName, renderProfile } from '../../hardware/index.ts';
import { writeFileAtomically } from '../../util/atomic-file.ts';
import { defineCommand } from '../command.ts';

export const calibrateCommand = defineCommand({
  command: 'calibrate',
  describe: 'Fit hardware profiles to measured kernel latencies, judged on held-out shapes',
  options: (yargs) =>
    yargs.options({
      data: {
        type: 'string',
        default: '../shared/hardware-data',
        describe: 'Folder of <device>__<stack>-<version>__<kernel>.csv.gz',
      },
      only: { type: 'string', describe: 'Only collections whose device/stack contains this' },
      out: { type: 'string', default: 'hardware-profiles', describe: 'Folder to write the profiles to' },
    }),
  async run({ data, only, out }, { print, report }) {
    await mkdir(out, { recursive: true });
    const written: string[] = [];
    for (const collection of collectionsIn(data)) {
      if (only !== undefined && !`${collection.device}/${collection.stack}`.includes(only)) continue;
      const profile = collectionProfile(data, collection, report);
      const file = join(out, profileFileName(profile.name));
      await writeFileAtomically(file, renderProfile(profile));
      written.push(file);
    }
    print({ schema: 'puzzle/calibration@1', written }, () => written.join('\n'));
  },
});
