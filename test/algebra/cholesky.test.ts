import { expect, test } from 'vitest';
import * as fc from 'fast-check';
import {
  addProduct,
  block,
  cholesky,
  inverse,
  matrix,
  solve,
  solveLower,
  solveUpper,
  transpose,
  type Matrix,
} from '../../src/algebra/index.ts';
import { seededRandom, type Random } from '../../src/util/random.ts';

const gaussian = (random: Random, rows: number, columns: number): Matrix =>
  matrix(
    rows,
    columns,
    Float64Array.from({ length: rows * columns }, () => random.normal()),
  );

/** A B^T straight from the definition. */
function product(a: Matrix, b: Matrix): Matrix {
  const c = matrix(a.rows, b.rows);
  for (let i = 0; i < a.rows; i++)
    for (let j = 0; j < b.rows; j++)
      for (let k = 0; k < a.columns; k++)
        c.data[i * b.rows + j]! +=
          a.data[a.offset + i * a.stride + k]! * b.data[b.offset + j * b.stride + k]!;
  return c;
}

const largestDifference = (a: Matrix, b: Matrix): number =>
  a.data.reduce((most, value, i) => Math.max(most, Math.abs(value - b.data[i]!)), 0);

const extent = fc.integer({ min: 1, max: 130 }); // past two blocks of 48, with ragged edges
const cases = fc.record({ n: extent, m: extent, k: extent, seed: fc.nat() });

test('addProduct is C + alpha A B^T, on blocks of larger matrices too', () => {
  fc.assert(
    fc.property(cases, fc.nat({ max: 5 }), ({ n, m, k, seed }, shift) => {
      const random = seededRandom(seed);
      const a = block(gaussian(random, m + shift, k + shift), shift, shift, m, k);
      const b = block(gaussian(random, n + 2, k + 3), 1, 2, n, k);
      const outer = gaussian(random, m + 1, n + shift);
      const untouched = outer.data.slice(0, n + shift);
      const expected = product(a, b);
      for (let i = 0; i < m; i++)
        for (let j = 0; j < n; j++)
          expected.data[i * n + j] =
            outer.data[(i + 1) * outer.stride + j]! - 0.5 * expected.data[i * n + j]!;
      addProduct(block(outer, 1, 0, m, n), a, b, -0.5);
      for (let i = 0; i < m; i++)
        for (let j = 0; j < n; j++)
          expect(outer.data[(i + 1) * outer.stride + j]).toBeCloseTo(expected.data[i * n + j]!, 9);
      expect(outer.data.slice(0, n + shift)).toEqual(untouched);
    }),
    { numRuns: 30 },
  );
});

test('addProduct on the lower part equals the full product there', () => {
  const random = seededRandom(1);
  const a = gaussian(random, 150, 70);
  const [full, lower] = [matrix(150, 150), matrix(150, 150)];
  addProduct(full, a, a);
  addProduct(lower, a, a, 1, 'lower');
  for (let i = 0; i < 150; i++)
    for (let j = 0; j <= i; j++) expect(lower.data[i * 150 + j]).toBe(full.data[i * 150 + j]);
});

test('L L^T = A, X A = B, A^-1 A = I, and leading blocks of L factor leading blocks of A', () => {
  fc.assert(
    fc.property(cases, ({ n, m, seed }) => {
      const random = seededRandom(seed);
      const root = gaussian(random, n, n + 20);
      const a = product(root, root);
      const l = cholesky(a)!;
      expect(largestDifference(product(l, l), a)).toBeLessThan(1e-10 * n);
      const b = gaussian(random, m, n);
      expect(largestDifference(product(solve(l, b), a), b)).toBeLessThan(1e-7);
      const inverted = inverse(l);
      const identity = matrix(n, n);
      for (let i = 0; i < n; i++) identity.data[i * n + i] = 1;
      expect(largestDifference(product(inverted, a), identity)).toBeLessThan(1e-7);
      expect(transpose(inverted).data).toEqual(inverted.data);

      const w = 1 + random.integer(n);
      const leading = solveUpper(block(transpose(l), 0, 0, w, w), block(solveLower(l, b), 0, 0, m, w));
      const back = product(leading, block(a, 0, 0, w, w));
      for (let i = 0; i < m; i++)
        for (let j = 0; j < w; j++) expect(back.data[i * w + j]).toBeCloseTo(b.data[i * n + j]!, 6);
    }),
    { numRuns: 20 },
  );
});

test('what is not positive definite has no factor', () => {
  expect(cholesky(matrix(3, 3))).toBeUndefined();
  expect(cholesky(matrix(2, 2, Float64Array.of(1, 2, 2, 1)))).toBeUndefined();
  expect(cholesky(matrix(1, 1, Float64Array.of(NaN)))).toBeUndefined();
});
