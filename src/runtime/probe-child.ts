/** The process that `probe.ts` starts: runs one product on the device and reports the failure, or an empty string. */
import { gemm, graph, input } from '../graph/index.ts';
import { float32 } from '../tensor/tensor.ts';
import { devices } from './device.ts';
import { openRuntime } from './runtime.ts';

async function failure(): Promise<string> {
  const device = devices.find((known) => known === process.argv[2]);
  if (device === undefined) return `no device ${process.argv[2]}`;
  try {
    const runtime = await openRuntime({ device, threads: 1 });
    const x = input('x', 'float32', [2, 2]);
    const result = await runtime.run(graph({ y: gemm(x, x) }), {
      x: float32(Float32Array.of(1, 2, 3, 4), [2, 2]),
    });
    const values = Array.from(result.y!.data, Number);
    return values.join() === '7,10,15,22' ? '' : `it computes ${values.join()} where 7,10,15,22 is right`;
  } catch (error) {
    return error instanceof Error ? error.message : String(error);
  }
}

process.send!(await failure());
