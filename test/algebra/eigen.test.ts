import * as fc from 'fast-check';
import { expect, test } from 'vitest';
import { addProduct, matrix, symmetricEigen, transpose, type Matrix } from '../../src/algebra/index.ts';
import { seededRandom } from '../../src/util/random.ts';

function randomGram(seed: number, n: number, rank: number): Matrix {
  const random = seededRandom(seed);
  const x = matrix(
    n,
    rank,
    Float64Array.from({ length: n * rank }, () => random.normal()),
  );
  const gram = matrix(n, n);
  addProduct(gram, x, x);
  return gram;
}

test('A = V^T D V with orthonormal V and descending D, singular or not', () => {
  fc.assert(
    fc.property(
      fc.nat(),
      fc.integer({ min: 1, max: 40 }),
      fc.integer({ min: 1, max: 50 }),
      (seed, n, rank) => {
        const a = randomGram(seed, n, rank);
        const { values, vectors } = symmetricEigen(a);
        expect([...values]).toEqual([...values].toSorted((x, y) => y - x));
        const identity = matrix(n, n);
        addProduct(identity, vectors, vectors);
        identity.data.forEach((value, i) => expect(value).toBeCloseTo(i % (n + 1) === 0 ? 1 : 0, 10));
        const columns = transpose(vectors); // (n, n): column k is eigenvector k
        const scaled = matrix(
          n,
          n,
          columns.data.map((value, i) => value * values[i % n]!),
        );
        const rebuilt = matrix(n, n);
        addProduct(rebuilt, scaled, columns);
        const largest = Math.max(1, ...values);
        rebuilt.data.forEach((value, i) =>
          expect(Math.abs(value - a.data[i]!) / largest).toBeLessThan(1e-12),
        );
      },
    ),
    { numRuns: 60 },
  );
});

test('diagonal and zero matrices are their own answer, one that is not finite is refused', () => {
  const a = matrix(3, 3, Float64Array.of(2, 0, 0, 0, 5, 0, 0, 0, -1));
  expect([...symmetricEigen(a).values]).toEqual([5, 2, -1]);
  expect([...symmetricEigen(matrix(4, 4)).values]).toEqual([0, 0, 0, 0]);
  expect(() => symmetricEigen(matrix(2, 2, Float64Array.of(1, Number.NaN, Number.NaN, 1)))).toThrow(
    RangeError,
  );
});
