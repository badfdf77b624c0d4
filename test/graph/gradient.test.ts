/** Every operator's gradient rule against central finite differences, in float64, on random shapes. */
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import {
  add,
  cast,
  constant,
  exp,
  gradient,
  graph,
  input,
  mul,
  reduceSum,
  stopGradient,
  type Value,
} from '../../src/graph/index.ts';
import type { OperatorKind } from '../../src/graph/value.ts';
import { elementCount, type Shape, type Tensor } from '../../src/tensor/index.ts';
import { seededRandom, type Random } from '../../src/util/random.ts';
import { compile, run } from './run.ts';
import { samples, withoutGradient, type Sample } from './samples.ts';

const kinds = Object.keys(samples) as OperatorKind[];

describe('gradient of', () => {
  test.each(kinds.filter((kind) => !withoutGradient.includes(kind)))('%s', async (kind) => {
    await fc.assert(
      fc.asyncProperty(samples[kind], fc.integer(), async (sample, seed) => requireAgreement(sample, seed)),
      { numRuns: 12 },
    );
  });

  test.each(withoutGradient)('%s is refused', (kind) => {
    const [sample] = fc.sample(samples[kind], 1) as [Sample];
    const operands = operandsOf(sample);
    expect(() => gradient(reduceSum(sample.build(...operands)), operands)).toThrow(
      /no gradient is defined through/,
    );
  });
});

test('a value used twice gets the sum of both paths', async () => {
  const x = input('x', 'float64', []);
  const [dx] = gradient(add(mul(x, x), exp(x)), [x]);
  const { dx: value } = await run(graph({ dx: dx! }), {
    x: { dtype: 'float64', shape: [], data: Float64Array.of(0.5) },
  });
  expect(value!.data[0]).toBeCloseTo(2 * 0.5 + Math.exp(0.5), 12);
});

test('what the loss does not depend on gets zeros of its shape', async () => {
  const [x, w] = [input('x', 'float32', [2]), input('w', 'float32', [3, 2])];
  const [dw] = gradient(reduceSum(x), [w]);
  expect((await run(graph({ dw: dw! }))).dw).toEqual({ shape: [3, 2], data: [0, 0, 0, 0, 0, 0] });
});

test('nothing flows through stopGradient', async () => {
  const x = input('x', 'float32', []);
  const [dx] = gradient(mul(x, stopGradient(x)), [x]);
  const { dx: value } = await run(graph({ dx: dx! }), {
    x: { dtype: 'float32', shape: [], data: Float32Array.of(3) },
  });
  expect(value!.data[0]).toBe(3);
});

test.each([
  ['a vector', input('x', 'float32', [2])],
  ['an integer', cast(constant(1), 'int32')],
])('%s is no loss', (_, loss) => {
  expect(() => gradient(loss, [])).toThrow(/not a float scalar/);
});

const operandsOf = ({ shapes }: Sample): Value[] =>
  shapes.map((shape, index) => input(`x${index}`, 'float64', shape));

/** Checks every partial derivative of a random weighting of the operator's output. */
async function requireAgreement(sample: Sample, seed: number): Promise<void> {
  const random = seededRandom(seed);
  const operands = operandsOf(sample);
  const output = sample.build(...operands);
  const weights = constant(float64(output.shape, () => random.normal()));
  const loss = reduceSum(mul(output, weights));
  const gradients = gradient(loss, operands);
  gradients.forEach(({ shape }, index) => expect(shape).toEqual(sample.shapes[index]));

  const draw = drawing(sample.domain, random);
  const feeds = Object.fromEntries(sample.shapes.map((shape, index) => [`x${index}`, float64(shape, draw)]));
  const forward = await compile(graph({ loss }));
  const backward = graph(Object.fromEntries(gradients.map((g, index) => [`d${index}`, g])));
  // A linear operator's gradient does not depend on its operands.
  const needed = Object.entries(feeds).filter(([name]) => name in backward.inputs);
  const analytic = await run(backward, Object.fromEntries(needed));

  const h = 1e-5;
  for (const [index, shape] of sample.shapes.entries()) {
    const { data } = feeds[`x${index}`]!;
    for (let element = 0; element < elementCount(shape); element++) {
      const at = async (value: number): Promise<number> => {
        const shifted = Float64Array.from(data as Float64Array);
        shifted[element] = value;
        return (await forward({ ...feeds, [`x${index}`]: { dtype: 'float64', shape, data: shifted } }))[
          'loss'
        ]!.data[0]!;
      };
      const x = (data as Float64Array)[element]!;
      const numeric = ((await at(x + h)) - (await at(x - h))) / (2 * h);
      const exact = analytic[`d${index}`]!.data[element]!;
      // Truncation h^2 f''' / 6 and rounding eps f / h are both near 1e-10; 1e-6 of the scale leaves room.
      expect(Math.abs(exact - numeric)).toBeLessThan(1e-6 * (1 + Math.abs(numeric)));
    }
  }
}

const float64 = (shape: Shape, draw: () => number): Tensor<'float64'> => ({
  dtype: 'float64',
  shape,
  data: Float64Array.from({ length: elementCount(shape) }, draw),
});

function drawing(domain: Sample['domain'], random: Random): () => number {
  if (domain === 'any') return () => random.normal();
  if (domain === 'positive') return () => 0.5 + 2 * random.uniform();
  // Odd multiples of 0.01 in random order: at least 0.02 apart, and from 0 by 0.01.
  const grid = random.shuffle(Array.from({ length: 400 }, (_, index) => (2 * index - 399) * 0.01));
  return () => grid.pop()!;
}
