/** The optimiser as nodes: against PyTorch's trajectory, against its own formulas, and cut in two. */
import { describe, expect, test } from 'vitest';
import {
  add,
  div,
  gemm,
  mul,
  reciprocal,
  reduceMean,
  reduceSum,
  silu,
  sqrt,
  square,
  sub,
  trainingLoop,
  type TrainingScalars,
  type Value,
} from '../../src/graph/index.ts';
import { elementCount, float32, type Shape, type Tensor } from '../../src/tensor/index.ts';
import reference from './training-reference.json' with { type: 'json' };
import { compile, run, type Feeds, type Results } from './run.ts';

const [hidden, width, tokens, steps] = [16, 24, 32, 10];
const shapes: Readonly<Record<string, Shape>> = {
  norm: [hidden],
  gate: [width, hidden],
  up: [width, hidden],
  down: [hidden, width],
};
const data = {
  x: { dtype: 'float32', shape: [tokens, hidden] },
  y: { dtype: 'float32', shape: [tokens, hidden] },
} as const;

// As in test/interop/make-training-fixture.py.
const scalars: TrainingScalars = {
  step: 0,
  learningRate: 2e-2,
  warmupSteps: 3,
  totalSteps: 12,
  finalFraction: 0.1,
  weightDecay: 0.1,
  clipNorm: 0.02,
};

const wave = (shape: Shape, frequency: number, scale: number): Tensor =>
  float32(
    Float32Array.from({ length: elementCount(shape) }, (_, i) => scale * Math.sin(frequency * (i + 1))),
    shape,
  );

const firstParameters: Feeds = {
  norm: float32(new Float32Array(hidden).fill(1), [hidden]),
  gate: wave(shapes['gate']!, 0.37, 0.4),
  up: wave(shapes['up']!, 0.53, 0.4),
  down: wave(shapes['down']!, 0.71, 0.4),
};
const x = wave([steps, tokens, hidden], 0.91, 1);
const y = wave([steps, tokens, hidden], 1.13, 1);

/** Normalised MSE of an RMSNorm and a SwiGLU FFN. */
function loss(
  { norm, gate, up, down }: Readonly<Record<string, Value>>,
  { x, y }: Readonly<Record<string, Value>>,
): Value {
  const scale = reciprocal(sqrt(add(reduceMean(square(x!), { axes: [1], keepDims: true }), 1e-5)));
  const normed = mul(mul(x!, scale), norm!);
  const features = mul(
    silu(gemm(normed, gate!, { transposeB: true })),
    gemm(normed, up!, { transposeB: true }),
  );
  const error = sub(gemm(features, down!, { transposeB: true }), y!);
  return div(reduceSum(square(error)), reduceSum(square(y!)));
}

const loopOf = (count: number): ReturnType<typeof trainingLoop> =>
  trainingLoop({ loss, parameters: shapes, data, steps: count });

const scalarFeeds = (values: Partial<TrainingScalars>): Feeds =>
  Object.fromEntries(
    Object.entries(values).map(([name, value]) => [name, float32(Float32Array.of(value), [])]),
  );

const firstState: Feeds = Object.fromEntries(
  Object.entries(firstParameters).flatMap(([name, tensor]) => {
    const zeros = float32(new Float32Array(tensor.data.length), tensor.shape);
    return [
      [`parameter.${name}`, tensor],
      [`mean.${name}`, zeros],
      [`square.${name}`, zeros],
    ] as const;
  }),
);

const part = ({ data, shape }: Tensor, start: number, count: number): Tensor => {
  const size = elementCount(shape) / shape[0]!;
  return float32((data as Float32Array).slice(start * size, (start + count) * size), [
    count,
    ...shape.slice(1),
  ]);
};

const stateOf = (results: Results): Feeds =>
  Object.fromEntries(
    Object.entries(results)
      .filter(([name]) => name.startsWith('next.'))
      .map(([name, { shape, data }]) => [
        name.slice('next.'.length),
        float32(Float32Array.from(data), shape),
      ]),
  );

describe('ten steps of AdamW', () => {
  test('follow PyTorch', async () => {
    const results = await run(loopOf(steps), {
      ...firstState,
      ...scalarFeeds(scalars),
      'data.x': x,
      'data.y': y,
    });
    for (let step = 0; step < steps; step++) {
      expect(results['losses']!.data[step]).toBeCloseTo(reference.losses[step]!, 5);
      expect(results['gradientNorms']!.data[step]! / reference.gradientNorms[step]!).toBeCloseTo(1, 4);
    }
    for (const name of ['norm', 'gate', 'up', 'down'] as const) {
      const values = Array.from(results[`next.parameter.${name}`]!.data);
      expect(values.reduce((sum, value) => sum + value, 0)).toBeCloseTo(reference.parameterSums[name], 3);
      expect(values.reduce((sum, value) => sum + value * value, 0)).toBeCloseTo(
        reference.parameterSquares[name],
        3,
      );
    }
    expect(results['next.step']!.data[0]).toBe(steps);
  });

  test('are the same in two calls, the state handed over', async () => {
    const feedsOf = (start: number): Feeds => ({ 'data.x': part(x, start, 5), 'data.y': part(y, start, 5) });
    const [half, whole] = [await compile(loopOf(5)), await compile(loopOf(10))];
    const constants = scalarFeeds(scalars);
    const first = await half({ ...constants, ...firstState, ...feedsOf(0) });
    const second = await half({ ...constants, ...stateOf(first), ...feedsOf(5) });
    const once = await whole({ ...constants, ...firstState, 'data.x': x, 'data.y': y });
    expect([...Array.from(first['losses']!.data), ...Array.from(second['losses']!.data)]).toEqual(
      once['losses']!.data,
    );
    expect(stateOf(second)).toEqual(stateOf(once));
  });
});

/** One matrix whose gradient is twice the batch. */
const single = (count: number): ReturnType<typeof trainingLoop> =>
  trainingLoop({
    loss: ({ w }, { x }, { scale }) => mul(reduceSum(mul(w!, x!)), scale!),
    parameters: { w: [1, 2] },
    data: { x: { dtype: 'float32', shape: [1, 2] } },
    constants: { scale: { dtype: 'float32', shape: [] } },
    steps: count,
  });

const ones = (count: number): Tensor => float32(new Float32Array(2 * count).fill(1), [count, 1, 2]);

const cosine = (progress: number): number => 0.1 + 0.9 * 0.5 * (1 + Math.cos(Math.PI * progress));

describe('one parameter', () => {
  const zeros = float32(new Float32Array(2), [1, 2]);
  const feeds = {
    'parameter.w': float32(Float32Array.of(1, -1), [1, 2]),
    'mean.w': zeros,
    'square.w': zeros,
    'constant.scale': float32(Float32Array.of(2), []),
  };

  test('moves by the learning rate against a constant gradient, along the schedule', async () => {
    // A constant gradient makes Adam's direction its sign, so each move is the learning rate of that step.
    const count = 8;
    const outputs: number[] = [];
    for (let step = 1; step <= count; step++) {
      const values = { ...scalars, weightDecay: 0, clipNorm: Infinity, totalSteps: 7 };
      const { 'next.parameter.w': w } = await run(single(step), {
        ...feeds,
        ...scalarFeeds(values),
        'data.x': ones(step),
      });
      outputs.push(1 - w!.data[0]!);
    }
    const moves = outputs.map((total, index) => total - (outputs[index - 1] ?? 0));
    const expected = [1 / 3, 2 / 3, 1, cosine(1 / 4), cosine(2 / 4), cosine(3 / 4), 0.1, 0.1];
    moves.forEach((move, index) => expect(move).toBeCloseTo(0.02 * expected[index]!, 6));
  });

  test('decays by learning rate times weight decay where there is no gradient', async () => {
    const values = { ...scalars, warmupSteps: 0, totalSteps: 1, finalFraction: 1 };
    const still = { ...feeds, 'constant.scale': float32(Float32Array.of(0), []) };
    const { 'next.parameter.w': w } = await run(single(1), {
      ...still,
      ...scalarFeeds(values),
      'data.x': ones(1),
    });
    expect(w!.data[0]).toBeCloseTo(1 - 0.02 * 0.1, 6);
  });

  test('meets a gradient no longer than the clip norm', async () => {
    const values = { ...scalars, clipNorm: 0.5 };
    const outputs = await run(single(1), { ...feeds, ...scalarFeeds(values), 'data.x': ones(1) });
    expect(outputs['gradientNorms']!.data[0]).toBeCloseTo(Math.sqrt(8), 5); // 2 * (1, 1), before clipping
    const mean = Array.from(outputs['next.mean.w']!.data, (value) => value / 0.1);
    expect(Math.hypot(...mean)).toBeCloseTo(0.5, 5);
  });
});
