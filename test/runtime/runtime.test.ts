/** The runtime runs graphs in worker threads: values, residents, scheduling, errors. */
import { afterAll, beforeAll, expect, test } from 'vitest';
import { exp, expand, gemm, graph, input, mul, reduceSum, reshape } from '../../src/graph/index.ts';
import { openRuntime, type Runtime } from '../../src/runtime/index.ts';
import type { Feeds } from '../../src/runtime/runtime.ts';
import { WorkerClient } from '../../src/runtime/worker-client.ts';
import { float32, type Tensor } from '../../src/tensor/tensor.ts';

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

test('feeds that do not fit are refused by name', async () => {
  const { x: hostX, w: hostW } = feeds();
  const refuses = (wrong: Feeds, message: RegExp) =>
    expect(runtime.run(product, wrong)).rejects.toThrow(message);
  await refuses({ x: hostX }, /input w is not fed/);
  await refuses(
    { x: hostX, w: float32(new Float32Array(3), [1, 3]) },
    /w is float32\[2, 3\], not float32\[1, 3\]/,
  );
  await refuses({ x: hostX, w: hostW, v: hostW }, /no input v/);
  await expect(runtime.run(product, feeds(), { keep: ['z'] })).rejects.toThrow(/no output z/);
});

test('carries every element type of graphs, bit by bit', async () => {
  const tensors: readonly Tensor[] = [
    { dtype: 'float32', shape: [2], data: Float32Array.of(-0, 1e-40) },
    { dtype: 'float64', shape: [2], data: Float64Array.of(Math.PI, Infinity) },
    { dtype: 'float16', shape: [2], data: Uint16Array.of(0x3c00, 0x8001) },
    { dtype: 'int32', shape: [2], data: Int32Array.of(-(2 ** 31), 7) },
    { dtype: 'int64', shape: [2], data: BigInt64Array.of(-(2n ** 63n), 7n) },
    { dtype: 'uint8', shape: [2], data: Uint8Array.of(0, 255) },
    { dtype: 'bool', shape: [2], data: Uint8Array.of(0, 1) },
  ];
  for (const tensor of tensors) {
    const same = graph({ same: reshape(input('tensor', tensor.dtype, [2]), [2]) });
    expect(await runtime.run(same, { tensor })).toEqual({ same: tensor });
  }
  const brain: Tensor = { dtype: 'bfloat16', shape: [1], data: Uint16Array.of(0x3f80) };
  await expect(runtime.upload(brain)).rejects.toThrow(/bfloat16/);
});

test('equal graphs share a session; the least recently used one makes room', async () => {
  const small = await openRuntime({ device: 'cpu', threads: 1, maximumPrograms: 2 });
  const scaled = (factor: number) => graph({ y: mul(input('x', 'float32', [1]), factor) });
  const run = async (factor: number) => {
    const { y } = await small.run(scaled(factor), { x: float32(Float32Array.of(3), [1]) });
    return y!.data[0];
  };
  expect([await run(2), await run(2)]).toEqual([6, 6]);
  expect(small.programs).toBe(1);
  // All at once: the worker sees compilations and evictions in the order of the calls.
  expect(await Promise.all([3, 4, 2, 3, 4, 4, 2].map(run))).toEqual([9, 12, 6, 9, 12, 12, 6]);
  expect(small.programs).toBe(2);
  await small.close();
});

test('jobs go to whichever worker is free; residents bind them', async () => {
  const pair = await openRuntime({ device: 'cpu', workers: 2, threads: 1 });
  const n = 256;
  const a = input('a', 'float32', [n, n]);
  let power = a;
  for (let i = 0; i < 60; i++) power = gemm(power, a);
  const long = graph({ power });
  const short = graph({ trace: reduceSum(a) });
  const matrix = (value: number) => float32(new Float32Array(n * n).fill(value), [n, n]);
  await Promise.all([0, 1].map((worker) => pair.run(short, { a: matrix(1) }, { worker })));

  const finished: string[] = [];
  const slow = pair.run(long, { a: matrix(1 / n) }, { worker: 0 }).then(() => finished.push('long'));
  const quick = [1, 2, 3, 4].map(async (value) => {
    const { trace } = await pair.run(short, { a: matrix(value) });
    finished.push('short');
    return trace!.data[0];
  });
  expect(await Promise.all(quick)).toEqual([1, 2, 3, 4].map((value) => value * n * n));
  await slow;
  expect(finished).toEqual(['short', 'short', 'short', 'short', 'long']);

  const there = await pair.upload(matrix(2), 1);
  const { trace } = await pair.run(short, { a: there }, { keep: ['trace'] });
  expect(trace.worker).toBe(1);
  await expect(pair.run(short, { a: there }, { worker: 0 })).rejects.toThrow(/lives in worker 1/);
  await expect(pair.upload(matrix(2), 2)).rejects.toThrow(/no worker 2/);
  await pair.close();
});

test('memory that no machine has is a coded error that names the graph, and the worker lives on', async () => {
  const scalar = input('x', 'float32', [1, 1]);
  // 2^48 bytes: more than a process can address.
  const huge = graph({ sum: reduceSum(exp(expand(scalar, [2 ** 23, 2 ** 23]))) });
  const failure = runtime.run(huge, { x: float32(Float32Array.of(1), [1, 1]) });
  await expect(failure).rejects.toThrow(/^graph of sum/);
  await expect(failure).rejects.toMatchObject({ code: 'out-of-memory' });
  expect((await runtime.run(product, feeds())).square!.data[0]).toBe(91);
});

test('a worker that dies rejects what is open and all that follows', async () => {
  const client = new WorkerClient({ device: 'cpu', threads: 1 });
  // No request at all: its failure is reported, then breaks the thread.
  const outcomes = await Promise.allSettled([
    client.send(undefined as never),
    client.send({ kind: 'release', residents: [] }),
  ]);
  expect(outcomes).toMatchObject([
    { status: 'rejected', reason: { message: expect.stringMatching('kind') } },
    { status: 'rejected', reason: { code: 'worker-lost' } },
  ]);
  await expect(client.send({ kind: 'close' })).rejects.toMatchObject({ code: 'worker-lost' });
  await client.close();
});
