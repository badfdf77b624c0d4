/** `puzzle calibrate`: measured kernel latencies -> hardware profiles with fitted models and held-out errors. */
import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import {
  collectionProfile,
  collectionsIn,
  datasheetDevices,
  datasheetProfile,
  profileFileName,
  renderProfile,
  type HardwareProfile,
} from '../../hardware/index.ts';
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
    print({ schema: 'puzzle/calibration@1', written }, () => written.join('\n'));
  },
});
