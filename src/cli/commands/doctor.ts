/** `puzzle doctor`: what works on this machine, and what to install for the rest. */
import { access, constants, mkdir, statfs } from 'node:fs/promises';
import { availableParallelism, cpus, freemem, totalmem } from 'node:os';
import { probeDevices, runtimeVersion } from '../../runtime/index.ts';
import { explainingFailure } from '../../util/atomic-file.ts';
import { textTable } from '../../util/text-table.ts';
import { formatAmount } from '../../util/units.ts';
import { defineCommand } from '../command.ts';
import { storeOption } from '../options.ts';
import { version } from '../version.ts';

export const doctorCommand = defineCommand({
  command: 'doctor',
  describe: 'Say what works on this machine, and what to install for the rest',
  options: (yargs) => yargs.options(storeOption),
  async run({ store }, { print }) {
    await explainingFailure(store, () => mkdir(store, { recursive: true }));
    await explainingFailure(store, () => access(store, constants.W_OK));
    const { bavail, bsize } = await statfs(store);
    const document = {
      schema: 'puzzle/doctor@1',
      puzzle: version,
      node: process.versions.node,
      onnxRuntime: runtimeVersion,
      cpu: { model: cpus()[0]?.model ?? 'unknown', cores: availableParallelism() },
      memoryBytes: { total: totalmem(), free: freemem() },
      store: { path: store, freeBytes: bavail * bsize },
      devices: await probeDevices(),
    };
    print(document, () =>
      [
        textTable([
          ['', ''],
          ['puzzle', `${document.puzzle}, Node ${document.node}, ONNX Runtime ${document.onnxRuntime}`],
          ['processor', `${document.cpu.model}, ${document.cpu.cores} cores`],
          ['memory', `${formatAmount(totalmem(), 'bytes')}, ${formatAmount(freemem(), 'bytes')} free`],
          ['store', `${store}, ${formatAmount(document.store.freeBytes, 'bytes')} free`],
        ]).trim(),
        textTable([
          ['device', 'works', 'why not', 'what to do'],
          ...document.devices.map(({ device, works, reason, fix }) => [
            device,
            works ? 'yes' : 'no',
            reason.split('\n')[0]!.slice(0, 120),
            fix,
          ]),
        ]),
      ].join('\n\n'),
    );
  },
});
