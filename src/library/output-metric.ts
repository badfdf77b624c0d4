/**
 * Outputs in the metric of what they matter to the predictions: with the sensitivity S = L L^T, ||L^T y||^2 in place of
 * ||y||^2. Least squares on given features is the same in any metric; which features stay, and which directions a map
 * of low rank keeps, are not.
 */
import {
  addProduct,
  cholesky,
  matrix,
  meanDiagonal,
  plusDiagonal,
  solveUpper,
  transpose,
  type Matrix,
} from '../algebra/index.ts';

/** L, lower triangular (hidden, hidden). */
export type OutputMetric = Matrix;

/**
 * Pull of the metric towards plain squares, relative to its mean diagonal: a few thousand draws know the large
 * directions, and a direction they never saw is not free.
 */
const shrinkage = 0.1;

/** The metric of a sensitivity (hidden, hidden); undefined where nothing matters at all or the matrix is not finite. */
export function outputMetric(sensitivity: Matrix): OutputMetric | undefined {
  const mean = meanDiagonal(sensitivity);
  return mean > 0 && mean < Infinity ? cholesky(plusDiagonal(sensitivity, shrinkage * mean)) : undefined;
}

/** L^T W for a map W (hidden, features). */
export function intoMetric(metric: OutputMetric | undefined, map: Matrix): Matrix {
  if (metric === undefined) return map;
  const moved = matrix(map.rows, map.columns);
  addProduct(moved, transpose(metric), transpose(map));
  return moved;
}

/** W from L^T W. */
export function outOfMetric(metric: OutputMetric | undefined, map: Matrix): Matrix {
  if (metric === undefined) return map;
  return transpose(solveUpper(transpose(metric), transpose(map))); // W^T L = (L^T W)^T
}
