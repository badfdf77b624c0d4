/** The process `exit.test.ts` watches: keeps two workers busy, then ends as its argument says. */
import { gemm, graph, input } from '../../src/graph/index.ts';
import { openRuntime } from '../../src/runtime/index.ts';
import { float32 } from '../../src/tensor/tensor.ts';

const ending = process.argv[2];
process.once('SIGINT', () => process.exit(130));

const n = 256;
const x = input('x', 'float32', [n, n]);
const square = graph({ square: gemm(x, x) });
const runtime = await openRuntime({ device: 'cpu', workers: 2, threads: 1 });
const run = () => runtime.run(square, { x: float32(new Float32Array(n * n), [n, n]) });
await Promise.all([run(), run()]);

process.stdout.write('busy\n');
const batches = ending === 'interrupt' ? Infinity : 3;
for (let batch = 0; batch < batches; batch++) await Promise.all([run(), run(), run()]);
if (ending === 'close') await runtime.close();
if (ending === 'exit') {
  void run();
  process.exit(7);
}
