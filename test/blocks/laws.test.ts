/** Laws that every registered block obeys, on random shapes. A new block needs a line in samples.ts and reference.ts. */
import * as fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { blockForward, blockOf, blockParameters, blocks } from '../../src/blocks/index.ts';
import type { Weights } from '../../src/blocks/index.ts';
import { div, gradient, graph, input, reduceSum, square, sub } from '../../src/graph/index.ts';
import type { Value } from '../../src/graph/index.ts';
import { openRuntime } from '../../src/runtime/index.ts';
import type { Runtime } from '../../src/runtime/index.ts';
import { elementCount, float32 } from '../../src/tensor/tensor.ts';
import type { Tensor } from '../../src/tensor/tensor.ts';
import { seededRandom } from '../../src/util/random.ts';
import { referenceDelta } from './reference.ts';
import { pairs, randomStream, randomWeights, sampleOf, type Sample } from './samples.ts';

let runtime: Runtime;
beforeAll(async () => {
  runtime = await openRuntime({ device: 'cpu', threads: 1 });
});
afterAll(async () => runtime.close());

const runs = { numRuns: 15 };

/** Graph inputs named after a sample's stream and weights, and what the block makes of them. */
function forwardOf(sample: Sample): {
  x: Value;
  weights: Weights<Value>;
  delta: Value | undefined;
  features: Value | undefined;
} {
  const { config, stream, batch, tokens } = sample;
  const x = input('x', 'float32', [batch * tokens, stream.hidden]);
  const weights = Object.fromEntries(
    Object.entries(blockOf(config).weights(config, stream)).map(([name, shape]) => [
      name,
      input(name, 'float32', shape),
    ]),
  );
  const { delta, features } = blockForward(x, weights, { config, stream, batch, tokens });
  return { x, weights, delta, features };
}

/** The block's delta as rows; zeros where it has none. */
async function run(sample: Sample, weights: Weights<Tensor>, x: Tensor<'float32'>): Promise<number[]> {
  const { delta } = forwardOf(sample);
  if (delta === undefined) return Array.from(x.data, () => 0);
  const result = await runtime.run(graph({ delta }), { x, ...weights });
  return Array.from(result.delta!.data, Number);
}

const largestDifference = (a: readonly number[], b: readonly number[]): number =>
  a.reduce((most, value, i) => Math.max(most, Math.abs(value - b[i]!)), a.length === b.length ? 0 : Infinity);

test('every registered block has samples', () => {
  expect(Object.keys(pairs).sort()).toEqual(blocks.map(({ kind }) => kind).sort());
});

describe.each(blocks)('$kind', (block) => {
  const samples = sampleOf(block.kind);

  test('its schema accepts its configs and keeps every field', () => {
    fc.assert(
      fc.property(samples, ({ config }) => {
        expect(block.schema.parse(config)).toEqual(config);
      }),
    );
    expect(block.schema.safeParse({ kind: block.kind, surprise: 1 }).success).toBe(false);
  });

  test('it stands only in its slots, and its teacher is one it accepts', () => {
    fc.assert(
      fc.property(samples, ({ slot, config, teacher, stream }) => {
        expect(block.slots).toContain(slot);
        expect(block.refuses(config, teacher, stream)).toBeUndefined();
      }),
    );
  });

  test('initialisation gives the stated weights; of the unchanged config the teacher itself, in arrays of its own', () => {
    fc.assert(
      fc.property(samples, ({ config, teacher, stream, seed }) => {
        const weights = randomWeights(teacher, stream, seed);
        const features =
          blockOf(teacher).output === undefined ? 0 : weights[blockOf(teacher).output!]!.shape[1]!;
        const random = seededRandom(seed);
        const meanAbsFeature = Float32Array.from({ length: features }, () => random.uniform());
        const made = block.initialise(config, { config: teacher, weights, meanAbsFeature }, stream);
        const shapes = Object.fromEntries(Object.entries(made).map(([name, { shape }]) => [name, shape]));
        expect(shapes).toEqual(block.weights(config, stream));
        if (teacher.kind !== block.kind) return;
        const same = block.initialise(teacher, { config: teacher, weights }, stream);
        expect(same).toEqual(weights);
        for (const [name, { data }] of Object.entries(same))
          expect(data.buffer).not.toBe(weights[name]!.data.buffer);
      }),
    );
  });

  test('parameters are its weights counted, matrices are its products, output takes its features', () => {
    fc.assert(
      fc.property(samples, (sample) => {
        const { config, stream } = sample;
        const shapes = Object.values(block.weights(config, stream));
        expect(blockParameters(config, stream)).toBe(shapes.map(elementCount).reduce((a, b) => a + b, 0));
        const products = block.operators(config, stream).map((o) => (o.kind === 'gemm' ? o.n * o.k : 0));
        const matrices = shapes.map((shape) => (shape.length === 2 ? elementCount(shape) : 0));
        expect(products.reduce((a, b) => a + b, 0)).toBe(matrices.reduce((a, b) => a + b, 0));
        const { features, weights, delta } = forwardOf(sample);
        expect(features?.shape[1]).toBe(block.output && weights[block.output]!.shape[1]);
        // every stated weight is used, and no other
        const used =
          delta === undefined ? [] : Object.keys(graph({ delta }).inputs).filter((name) => name !== 'x');
        expect(used.sort()).toEqual(Object.keys(weights).sort());
      }),
    );
  });

  test('its graph computes what its paper says', async () => {
    await fc.assert(
      fc.asyncProperty(samples, async (sample) => {
        const weights = randomWeights(sample.config, sample.stream, sample.seed);
        const x = randomStream(sample);
        const delta = await run(sample, weights, x);
        expect(largestDifference(delta, referenceDelta(sample, weights, x).flat())).toBeLessThan(2e-5);
      }),
      runs,
    );
  });

  test('a token never sees later tokens nor other sequences', async () => {
    await fc.assert(
      fc.asyncProperty(samples, fc.nat(), async (sample, pick) => {
        const { batch, tokens, stream } = sample;
        const weights = randomWeights(sample.config, stream, sample.seed);
        const x = randomStream(sample);
        const changed = pick % (batch * tokens);
        const other = float32(x.data.slice(), x.shape);
        other.data.fill(3, changed * stream.hidden, (changed + 1) * stream.hidden);
        const [before, after] = [await run(sample, weights, x), await run(sample, weights, other)];
        const rowOf = (y: readonly number[], row: number): number[] =>
          y.slice(row * stream.hidden, (row + 1) * stream.hidden);
        const unseen = Array.from({ length: batch * tokens }, (_, row) => row).filter(
          (row) => row < changed || Math.floor(row / tokens) !== Math.floor(changed / tokens),
        );
        expect(unseen.map((row) => rowOf(after, row))).toEqual(unseen.map((row) => rowOf(before, row)));
      }),
      runs,
    );
  });

  test('the gradient of its distillation loss agrees with finite differences, for every weight', async () => {
    await fc.assert(
      fc.asyncProperty(samples, async (sample) => {
        const { delta, weights } = forwardOf(sample);
        if (delta === undefined) return;
        const target = input('target', 'float32', delta.shape);
        // normalised MSE, arXiv 2411.19146 sec. 3
        const loss = div(reduceSum(square(sub(delta, target))), reduceSum(square(target)));
        const names = Object.keys(weights);
        const gradients = gradient(
          loss,
          names.map((name) => weights[name]!),
        );
        const backward = graph({
          loss,
          ...Object.fromEntries(gradients.map((g, i) => [`d.${names[i]}`, g])),
        });
        const forward = graph({ loss });
        const values = randomWeights(sample.config, sample.stream, sample.seed);
        const random = seededRandom(sample.seed + 1);
        const goal = Float32Array.from({ length: elementCount(delta.shape) }, () =>
          random.uniform() < 0.5 ? -1 : 1,
        );
        const feeds = { x: randomStream(sample), target: float32(goal, delta.shape), ...values };
        const analytic = await runtime.run(backward, feeds);
        for (const name of names) {
          const slope = Array.from(analytic[`d.${name}`]!.data, Number);
          const length = Math.hypot(...slope);
          // half towards the gradient, where the signal is, half anywhere
          const noise = slope.map(() => random.normal());
          const noiseLength = Math.hypot(...noise);
          const direction = slope.map((s, i) => (length > 0 ? s / length : 0) + noise[i]! / noiseLength);
          const at = async (step: number): Promise<number> => {
            const moved = values[name]!.data.map((value, i) => value + step * direction[i]!);
            const result = await runtime.run(forward, {
              ...feeds,
              [name]: float32(moved, values[name]!.shape),
            });
            return Number(result.loss!.data[0]);
          };
          // fourth-order central difference
          const h = 1e-2;
          const near = (await at(h)) - (await at(-h));
          const far = (await at(2 * h)) - (await at(-2 * h));
          const measured = (8 * near - far) / (12 * h);
          const expected = slope.reduce((sum, s, i) => sum + s * direction[i]!, 0);
          const tolerance = 0.02 * Math.abs(expected) + 1e-3;
          expect(Math.abs(measured - expected), `${name}: ${measured} against ${expected}`).toBeLessThan(
            tolerance,
          );
        }
      }),
      { numRuns: 8 },
    );
  });
});
