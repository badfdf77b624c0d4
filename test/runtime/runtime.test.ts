/** The runtime runs graphs in worker threads: values, residents, scheduling, errors. */
import { afterAll, beforeAll, expect, test } from 'vitest';
import { gemm, graph, input, mul, reduceSum } from '../../src/graph/index.ts';
import { openRuntime, type Runtime } from '../../src/runtime/index.ts';
import { float32 } from '../../src/tensor/tensor.ts';

let runtime: Runtime;
beforeAll(async () => {
  runtime = await openRuntime({ device: 'cpu' });
});
afterAll(() => runtime.close());

const x = input('x', 'float32', [2, 3]);
const w = input('w', 'float32', [2, 3]);
const product = graph({ y: gemm(x, w, { transposeB: true }), square: reduceSum(mul(x, x)) });
const feeds = () => ({
  x: float32(Float32Array.of(1, 2, 3, 4, 5, 6), [2, 3]),
  w: float32(Float32Array.of(1, 0, 1, 0, 1, 0), [2, 3]),
});

test('returns every output as a host tensor', async () => {
  const { y, square } = await runtime.run(product, feeds());
  expect(y).toEqual(float32(Float32Array.of(4, 2, 10, 5), [2, 2]));
  expect(square!.data[0]).toBe(91);
});

test('copies host feeds unless told to move them', async () => {
  const copied = feeds();
  await runtime.run(product, copied);
  expect(copied.x.data).toHaveLength(6);
  await runtime.run(product, copied, { transfer: true });
  expect(copied.x.data).toHaveLength(0);
});

test('an upload moves the tensor; a kept output feeds the next run', async () => {
  const { x: hostX, w: hostW } = feeds();
  const residentX = await runtime.upload(hostX);
  expect(hostX.data).toHaveLength(0);
  const { y, square } = await runtime.run(product, { x: residentX, w: hostW }, { keep: ['y'] });
  expect(square!.data[0]).toBe(91);
  expect(y).toMatchObject({ worker: 0, dtype: 'float32', shape: [2, 2] });

  const z = input('z', 'float32', [2, 2]);
  const doubled = graph({ twice: mul(z, 2) });
  const { twice } = await runtime.run(doubled, { z: y });
  expect(twice!.data).toEqual(Float32Array.of(8, 4, 20, 10));
  expect((await runtime.download(y)).data).toEqual(Float32Array.of(4, 2, 10, 5));

  await runtime.release(y, residentX);
  await expect(runtime.run(doubled, { z: y })).rejects.toThrow(/released/);
});
