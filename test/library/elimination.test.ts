import { expect, test } from 'vitest';
import * as fc from 'fast-check';
import { eliminate } from '../../src/library/elimination.ts';
import { dampened, damped, leastSquaresOn, normalisedError, ridge } from '../../src/library/least-squares.ts';
import {
  addProduct,
  cholesky,
  inverse,
  matrix,
  select,
  solve,
  transpose,
  type Matrix,
} from '../../src/algebra/index.ts';
import { intoMetric, outOfMetric, outputMetric } from '../../src/library/output-metric.ts';
import { seededRandom } from '../../src/util/random.ts';

/** Correlated features, a target map, and their moments. */
function problem(seed: number, n: number, outputs: number, tokens = 2 * n + 5) {
  const random = seededRandom(seed);
  const normal = (rows: number, columns: number): Matrix =>
    matrix(
      rows,
      columns,
      Float64Array.from({ length: rows * columns }, () => random.normal()),
    );
  const features = matrix(n, tokens); // h^T
  addProduct(features, normal(n, n), normal(tokens, n));
  const w0 = normal(outputs, n);
  const gram = matrix(n, n);
  addProduct(gram, features, features);
  const cross = matrix(outputs, n);
  addProduct(cross, w0, gram);
  let energy = 0;
  for (let i = 0; i < cross.data.length; i++) energy += cross.data[i]! * w0.data[i]!;
  return { gram, w0, moments: { tokens, gram, cross, energy } };
}

const range = (n: number): number[] => Array.from({ length: n }, (_, i) => i);

/** Loss of the best map that uses `channels` only, relative to the empty map: straight from the definition. */
function lossOf(a: Matrix, b: Matrix, channels: readonly number[]): number {
  const right = select(b, range(b.rows), channels);
  const w = solve(cholesky(select(a, channels, channels))!, right);
  return -w.data.reduce((sum, value, i) => sum + value * right.data[i]!, 0);
}

test('every step drops the channel whose absence costs least', () => {
  fc.assert(
    fc.property(
      fc.nat(),
      fc.integer({ min: 2, max: 14 }),
      fc.integer({ min: 1, max: 5 }),
      (seed, n, outputs) => {
        const { gram, w0 } = problem(seed, n, outputs);
        const a = dampened(gram);
        const b = matrix(outputs, n);
        addProduct(b, w0, a);
        const order = [...eliminate(inverse(cholesky(a)!), w0).order];
        expect(order.toSorted((x, y) => x - y)).toEqual(range(n));
        for (let width = n; width > 1; width--) {
          const alive = order.slice(0, width);
          const losses = alive.map((dropped) =>
            lossOf(
              a,
              b,
              alive.filter((c) => c !== dropped),
            ),
          );
          const least = Math.min(...losses);
          expect(losses.at(-1)! - least).toBeLessThanOrEqual(1e-7 * Math.abs(least));
        }
      },
    ),
    { numRuns: 40 },
  );
});

test('blocked elimination equals one rank-one step at a time', () => {
  const n = 131;
  const { gram, w0 } = problem(3, n, 20);
  const inverted = inverse(damped(gram).factor);
  const m = Float64Array.from(inverted.data);
  const w = Float64Array.from(w0.data);
  let alive = range(n);
  const dropped: number[] = [];
  while (alive.length > 1) {
    const cost = (c: number): number => {
      let square = 0;
      for (let i = 0; i < w0.rows; i++) square += w[i * n + c]! ** 2;
      return square / m[c * n + c]!;
    };
    const p = alive.reduce((best, c) => (cost(c) < cost(best) ? c : best));
    const pivotRow = m.slice(p * n, (p + 1) * n);
    for (let i = 0; i < w0.rows; i++) {
      const weight = w[i * n + p]! / pivotRow[p]!;
      for (let c = 0; c < n; c++) w[i * n + c]! -= weight * pivotRow[c]!;
    }
    for (let i = 0; i < n; i++)
      for (let c = 0; c < n; c++) m[i * n + c]! -= (pivotRow[i]! * pivotRow[c]!) / pivotRow[p]!;
    alive = alive.filter((c) => c !== p);
    dropped.push(p);
  }
  const expected = [...alive, ...dropped.toReversed()];
  expect([...eliminate(inverted, w0).order]).toEqual(expected);
});

test('the map at each width equals a fresh solve, and wider is never worse', () => {
  fc.assert(
    fc.property(fc.nat(), fc.integer({ min: 3, max: 90 }), (seed, n) => {
      const { gram, w0, moments } = problem(seed, n, 4);
      const a = dampened(gram);
      const b = matrix(4, n); // W0 A
      addProduct(b, w0, a);
      const widths = [...new Set([1, Math.ceil(n / 3), n - 1])];
      const { order, kept } = eliminate(inverse(cholesky(a)!), w0, widths);
      const errors = widths.map((width) => {
        const { channels, map } = kept.get(width)!;
        expect(channels).toEqual(Array.from(order.subarray(0, width)).toSorted((x, y) => x - y));
        const fresh = leastSquaresOn(a, b, channels);
        map.data.forEach((value, i) => expect(value).toBeCloseTo(fresh.data[i]!, 6));
        const whole = matrix(4, n);
        for (let i = 0; i < 4; i++)
          channels.forEach((c, j) => (whole.data[i * n + c] = map.data[i * width + j]!));
        return normalisedError(moments, whole);
      });
      for (let k = 1; k < errors.length; k++) expect(errors[k]).toBeLessThanOrEqual(errors[k - 1]! + 1e-3);
    }),
    { numRuns: 15 },
  );
});

test('in a metric of the outputs, the metric decides and the map comes out as it would have been turned back', () => {
  const n = 70;
  const { gram, w0 } = problem(11, n, 6);
  const inverted = inverse(damped(gram).factor);
  const metric = outputMetric(problem(12, 6, 1).gram)!;
  const judged = intoMetric(metric, w0);
  const widths = [5, 33, 69];
  const carried = eliminate(inverted, w0, widths, judged);
  const turned = eliminate(inverted, judged, widths);
  expect(carried.order).toEqual(turned.order);
  expect(carried.order).not.toEqual(eliminate(inverted, w0).order);
  for (const width of widths) {
    const { channels, map } = carried.kept.get(width)!;
    const back = turned.kept.get(width)!;
    expect(channels).toEqual(back.channels);
    outOfMetric(metric, back.map).data.forEach((value, i) => expect(map.data[i]).toBeCloseTo(value, 9));
  }
});

test('dead channels go first, and a singular Gram matrix is no obstacle', () => {
  const { gram, w0, moments } = problem(5, 12, 3, 6); // 6 tokens, 12 features: singular
  for (const dead of [2, 7])
    for (let i = 0; i < 12; i++) gram.data[dead * 12 + i] = gram.data[i * 12 + dead] = 0;
  moments.cross.data.fill(0);
  addProduct(moments.cross, w0, gram);
  const energy = moments.cross.data.reduce((sum, value, i) => sum + value * w0.data[i]!, 0);
  const consistent = { ...moments, energy };
  const w = ridge(consistent, 1e-8);
  expect(normalisedError(consistent, w)).toBeLessThan(1e-6);
  for (let i = 0; i < 3; i++) expect(Math.abs(w.data[i * 12 + 2]!)).toBeLessThan(1e-12);
  // Damped towards the fitted map, a dead channel carries no weight and leaves before any other.
  const order = [...eliminate(inverse(damped(gram).factor), w).order];
  expect(order.slice(10).toSorted((a, b) => a - b)).toEqual([2, 7]);
});

test('a teacher whose features are all zero gets zero weights; one with infinities an error', () => {
  const zero = { tokens: 4, gram: matrix(3, 3), cross: matrix(2, 3), energy: 0 };
  expect([...ridge(zero).data]).toEqual([0, 0, 0, 0, 0, 0]);
  expect(normalisedError(zero, ridge(zero))).toBe(0);
  const infinite = { ...zero, gram: matrix(1, 1, Float64Array.of(Infinity)), cross: matrix(2, 1) };
  expect(() => ridge(infinite)).toThrowError(expect.objectContaining({ code: 'file-invalid' }));
});

test('ridge is the minimum: any step away from it costs', () => {
  const { moments } = problem(9, 10, 3);
  const w = ridge(moments, 1e-12);
  const best = normalisedError(moments, w);
  const random = seededRandom(2);
  for (let trial = 0; trial < 20; trial++) {
    const moved = matrix(
      3,
      10,
      Float64Array.from(w.data, (value) => value + 0.01 * random.normal()),
    );
    expect(normalisedError(moments, moved)).toBeGreaterThan(best);
  }
  expect(transpose(transpose(w)).data).toEqual(w.data);
});
