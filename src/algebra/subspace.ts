/** The leading eigenspace of a symmetric positive semi-definite matrix, by subspace iteration. */
import { seededRandom } from '../util/random.ts';
import { cholesky, solveLower } from './cholesky.ts';
import { matrix, transpose, type Matrix } from './matrix.ts';
import { addProduct } from './product.ts';

/** Directions within a hundredth of the last kept eigenvalue may remain mixed: they carry the same energy. */
const iterations = 60;

/**
 * An orthonormal basis, in rows, of (nearly) the span of the `count` leading eigenvectors: (count, n). Where the matrix
 * has fewer positive eigenvalues the rest of the basis is arbitrary.
 */
export function leadingSubspace(a: Matrix, count: number): Matrix {
  const n = a.rows;
  const random = seededRandom(n);
  let basis = orthonormal(
    matrix(
      count,
      n,
      Float64Array.from({ length: count * n }, () => random.normal()),
    ),
  );
  let trace = 0;
  for (let i = 0; i < n; i++) trace += a.data[a.offset + i * (a.stride + 1)]!;
  if (!(trace > 0)) return basis;
  for (let i = 0; i < iterations; i++) {
    const moved = matrix(count, n);
    addProduct(moved, basis, a, 1 / trace);
    // A trace of the old basis keeps the rows independent where the matrix has no more directions to offer.
    for (let k = 0; k < moved.data.length; k++) moved.data[k]! += 1e-7 * basis.data[k]!;
    basis = orthonormal(moved);
  }
  return basis;
}

/** Rows made orthonormal: L^-1 Y with Y Y^T = L L^T, twice, since squaring the condition costs half the digits. */
function orthonormal(rows: Matrix): Matrix {
  let result = rows;
  for (let pass = 0; pass < 2; pass++) {
    const gram = matrix(rows.rows, rows.rows);
    addProduct(gram, result, result);
    const l = cholesky(gram);
    if (l === undefined) throw new RangeError('the rows are not independent');
    result = transpose(solveLower(l, transpose(result)));
  }
  return result;
}
