/** A process of its own, as drivers may crash: trains a small FFN on a device and prints the losses as JSON. */
import {
  div,
  gemm,
  mul,
  reduceSum,
  silu,
  square,
  sub,
  trainingLoop,
  type TrainingScalars,
} from '../../src/graph/index.ts';
import { devices, openRuntime } from '../../src/runtime/index.ts';
import { elementCount, float32, type Shape, type Tensor } from '../../src/tensor/index.ts';

const [hidden, width, tokens, steps] = [16, 24, 32, 10];
const shapes: Readonly<Record<string, Shape>> = {
  gate: [width, hidden],
  up: [width, hidden],
  down: [hidden, width],
};
const stream = { dtype: 'float32', shape: [tokens, hidden] } as const;
const scalars: TrainingScalars = {
  step: 0,
  learningRate: 2e-2,
  warmupSteps: 3,
  totalSteps: 12,
  finalFraction: 0.1,
  weightDecay: 0.1,
  clipNorm: 1,
};

const wave = (shape: Shape, frequency: number, scale: number): Tensor =>
  float32(
    Float32Array.from({ length: elementCount(shape) }, (_, i) => scale * Math.sin(frequency * (i + 1))),
    shape,
  );

/** The same batch in every step, so that the loss must fall. */
const repeated = ({ data, shape }: Tensor): Tensor =>
  float32(
    Float32Array.from({ length: steps * data.length }, (_, i) => Number(data[i % data.length])),
    [steps, ...shape],
  );

const program = trainingLoop({
  parameters: shapes,
  data: { x: stream, y: stream },
  steps,
  loss({ gate, up, down }, { x, y }) {
    const h = mul(silu(gemm(x!, gate!, { transposeB: true })), gemm(x!, up!, { transposeB: true }));
    return div(reduceSum(square(sub(gemm(h, down!, { transposeB: true }), y!))), reduceSum(square(y!)));
  },
});
const device = devices.find((known) => known === process.argv[2])!;
const runtime = await openRuntime({ device, threads: 1 });
const zeros = (shape: Shape): Tensor => float32(new Float32Array(elementCount(shape)), shape);
const state = Object.entries(shapes).flatMap(([name, shape], index) => [
  [`parameter.${name}`, wave(shape, 0.37 + 0.16 * index, 0.4)] as const,
  [`mean.${name}`, zeros(shape)] as const,
  [`square.${name}`, zeros(shape)] as const,
]);
// The state goes in, and the losses stay, as residents of the device's own memory.
const residents = await Promise.all(
  state.map(async ([name, tensor]) => [name, await runtime.upload(tensor)] as const),
);
const feeds = {
  ...Object.fromEntries(residents),
  ...Object.fromEntries(
    Object.entries(scalars).map(([name, value]) => [name, float32(Float32Array.of(value), [])]),
  ),
  'data.x': repeated(wave(stream.shape, 0.91, 1)),
  'data.y': repeated(wave(stream.shape, 1.13, 1)),
};
const { losses } = await runtime.run(program, feeds, { keep: ['losses'] });
const { data } = await runtime.download(losses);
process.stdout.write(`${JSON.stringify(Array.from(data, Number))}\n`);
await runtime.close();
