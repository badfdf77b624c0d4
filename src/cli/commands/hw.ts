/** `puzzle hw list|show|check`: the hardware profiles there are, what one knows, whether a file is one. */
import { loadProfile, profileNames, type HardwareProfile } from '../../hardware/index.ts';
import { textTable } from '../../util/text-table.ts';
import { formatAmount } from '../../util/units.ts';
import { PuzzleError } from '../../util/errors.ts';
import { defineCommand } from '../command.ts';

export const hwCommand = defineCommand({
  command: 'hw <action> [profile]',
  describe: 'Hardware profiles: list them, show one, check a file',
  options: (yargs) =>
    yargs
      .positional('action', {
        choices: ['list', 'show', 'check'] as const,
        demandOption: true,
        describe: 'What to do',
      })
      .positional('profile', { type: 'string', describe: 'Name or JSON file' }),
  async run({ action, profile: name }, { print }) {
    if (action === 'list') {
      const profiles = profileNames().map((each) => summary(loadProfile(each)));
      print({ schema: 'puzzle/hardware-list@1', profiles }, () =>
        textTable([
          ['name', 'device', 'stack', 'memory', 'bandwidth', 'kernels timed'],
          ...profiles.map((p) => [
            p.name,
            p.device,
            p.stack,
            formatAmount(p.memoryBytes, 'bytes'),
            `${(p.bandwidthBytesPerSecond / 1e12).toFixed(2)} TB/s`,
            String(p.timedKernels),
          ]),
        ]),
      );
      return;
    }
    if (name === undefined) {
      throw new PuzzleError('bad-usage', `\`puzzle hw ${action}\` needs a profile.`, {
        at: 'profile',
        fix: 'Give a name (`puzzle hw list`) or a JSON file.',
      });
    }
    const profile = loadProfile(name);
    if (action === 'check')
      print(
        { schema: 'puzzle/hardware-check@1', valid: true, ...summary(profile) },
        () => `${name}: a valid profile of ${profile.device.description}.`,
      );
    else print({ ...profile }, () => described(profile));
  },
});

const kernelsOf = (p: HardwareProfile) => [
  ...p.gemm.map(({ kind, model }) => ({ name: `gemm ${kind}`, model })),
  ...(['prefill', 'decode'] as const).flatMap((phase) =>
    p[phase].map(({ format, kv, headDim, window, model }) => ({
      name: `${phase} ${format}, KV ${kv}, head ${headDim}${window === undefined ? '' : `, window ${window}`}`,
      model,
    })),
  ),
];

const summary = (p: HardwareProfile) => ({
  name: p.name,
  device: p.device.description,
  stack: p.stack,
  memoryBytes: p.device.memoryBytes,
  bandwidthBytesPerSecond: p.device.bandwidthBytesPerSecond,
  timedKernels: kernelsOf(p).filter(({ model }) => model.heldOut !== undefined).length,
});

function described(p: HardwareProfile): string {
  const percent = (share: number | undefined): string =>
    share === undefined ? 'not measured' : `${(100 * share).toFixed(1)} %`;
  return [
    `${p.device.description}, ${p.stack}`,
    textTable([
      ['kernel', 'median error', '90th percentile', 'within band', 'model'],
      ...kernelsOf(p).map(({ name, model }) => [
        name,
        percent(model.heldOut?.medianError),
        percent(model.heldOut?.p90Error),
        percent(model.heldOut?.coverage),
        model.grid === undefined ? 'smooth' : 'grid',
      ]),
    ]),
    p.provenance
      .map(
        ({ what, source, commit, licence, date }) =>
          `${what}: ${[source, commit, licence, date].filter((part) => part !== undefined).join(', ')}`,
      )
      .join('\n'),
  ].join('\n\n');
}
