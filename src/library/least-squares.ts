/** Ridge regression from second moments: the closed form of everything a block applies last. */
import { PuzzleError } from '../util/errors.ts';
import {
  addProduct,
  cholesky,
  matrix,
  meanDiagonal,
  plusDiagonal,
  select,
  solve,
  type Matrix,
} from '../algebra/index.ts';

/** Sums over tokens, all that a least-squares fit of outputs y (outputs) on features h (features) needs. */
export interface Moments {
  readonly tokens: number;
  /** sum h h^T (features, features) */
  readonly gram: Matrix;
  /** sum y h^T (outputs, features) */
  readonly cross: Matrix;
  /** sum ||y||^2 */
  readonly energy: number;
}

/** Ridge strength relative to the mean diagonal of the Gram matrix. */
export const defaultDamping = 1e-4;

/**
 * A = G + lambda I with lambda = `damping` times the mean diagonal of G. A Gram matrix of dead features (all zero)
 * becomes the identity, so that their weights come out as zero.
 *
 * @throws PuzzleError `file-invalid` when the Gram matrix holds NaN or infinity
 */
export function dampened(gram: Matrix, damping = defaultDamping): Matrix {
  const mean = meanDiagonal(gram);
  if (!Number.isFinite(mean))
    throw new PuzzleError('file-invalid', 'activations of the teacher are not finite', {
      fix: 'check the weights of the model for infinities and NaN',
    });
  return plusDiagonal(gram, mean > 0 ? damping * mean : 1);
}

/** A damped Gram matrix and its Cholesky factor. */
export interface Damped {
  readonly matrix: Matrix;
  readonly factor: Matrix;
}

/**
 * {@link dampened} and its factor; damping grows tenfold until the matrix is numerically positive definite.
 * @throws PuzzleError `file-invalid`
 */
export function damped(gram: Matrix, damping = defaultDamping): Damped {
  for (let strength = damping; strength < 1; strength *= 10) {
    const a = dampened(gram, strength);
    const factor = cholesky(a);
    if (factor) return { matrix: a, factor };
  }
  throw new PuzzleError('file-invalid', 'activations of the teacher have no usable second moments', {
    fix: 'use more calibration text, or check the weights of the model',
  });
}

/** argmin_W sum ||y - W h||^2 + lambda ||W||^2, (outputs, features). */
export const ridge = (moments: Pick<Moments, 'gram' | 'cross'>, damping = defaultDamping): Matrix =>
  solve(damped(moments.gram, damping).factor, moments.cross);

/**
 * Least squares on some of the features: W with W A_kk = B_k.
 *
 * @param a (n, n) damped Gram matrix
 * @param b (outputs, n) right-hand side
 * @returns (outputs, kept), columns in the order of `kept`
 */
export function leastSquaresOn(a: Matrix, b: Matrix, kept: readonly number[]): Matrix {
  const l = cholesky(select(a, kept, kept));
  if (!l) throw new RangeError('the damped Gram matrix is not positive definite');
  return solve(
    l,
    select(
      b,
      Array.from({ length: b.rows }, (_, i) => i),
      kept,
    ),
  );
}

/** sum ||y - W h||^2 / sum ||y||^2: the normalised MSE of outputs W h, 1 for W = 0; 0 when y is all zero and W h too. */
export function normalisedError({ gram, cross, energy }: Moments, w: Matrix): number {
  const product = matrix(w.rows, w.columns); // W G
  addProduct(product, w, gram);
  let error = energy;
  for (let i = 0; i < w.rows; i++)
    for (let j = 0; j < w.columns; j++) {
      const weight = w.data[w.offset + i * w.stride + j]!;
      error +=
        weight * (product.data[i * w.columns + j]! - 2 * cross.data[cross.offset + i * cross.stride + j]!);
    }
  // Cancellation may leave a perfect fit a rounding error below zero.
  return energy > 0 ? Math.max(0, error) / energy : error > 0 ? Infinity : 0;
}
