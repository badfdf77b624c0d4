/** Cholesky factor, solves with many right-hand sides and inverse of a symmetric positive definite matrix, blocked. */
import { block, copy, matrix, mirrorLower, transpose, type Matrix } from './matrix.ts';
import { addProduct } from './product.ts';

/** Columns factored at a time: small enough that the unblocked part stays below a tenth of the work. */
const blockSize = 48;

/**
 * The lower triangular L with L L^T = A, as a new matrix with zeros above the diagonal; undefined when A is not
 * numerically positive definite. Only the lower triangle of A is read.
 */
export function cholesky(a: Matrix): Matrix | undefined {
  const n = a.rows;
  const l = copy(a);
  for (let j = 0; j < n; j += blockSize) {
    const width = Math.min(blockSize, n - j);
    const below = n - j - width;
    const diagonal = block(l, j, j, width, width);
    if (!factorDiagonal(diagonal)) return undefined;
    if (below === 0) break;
    const panel = block(l, j + width, j, below, width);
    solveLowerDiagonal(panel, diagonal); // L21 = A21 L11^-T
    addProduct(block(l, j + width, j + width, below, below), panel, panel, -1, 'lower'); // A22 -= L21 L21^T
  }
  for (let i = 0; i < n; i++) l.data.fill(0, i * n + i + 1, (i + 1) * n);
  return l;
}

/**
 * X with X A = B for A = L L^T: least squares weights in the (out, in) layout, W = C G^-1.
 *
 * @param l (n, n) from {@link cholesky}
 * @param b (m, n), left as it is
 * @returns (m, n)
 */
export function solve(l: Matrix, b: Matrix): Matrix {
  return solveUpper(transpose(l), solveLower(l, b));
}

/** Z with Z L^T = B, the forward half of {@link solve}; its first w columns need only the first w of B and L. */
export function solveLower(l: Matrix, b: Matrix): Matrix {
  const x = copy(b);
  for (let j = 0; j < l.rows; j += blockSize) {
    const width = Math.min(blockSize, l.rows - j);
    const target = block(x, 0, j, x.rows, width);
    if (j > 0) addProduct(target, block(x, 0, 0, x.rows, j), block(l, j, 0, width, j), -1);
    solveLowerDiagonal(target, block(l, j, j, width, width));
  }
  return x;
}

/** X with X L = Z, the backward half of {@link solve}, from `u` = L^T. */
export function solveUpper(u: Matrix, z: Matrix): Matrix {
  const n = u.rows;
  const x = copy(z);
  for (let j = Math.floor((n - 1) / blockSize) * blockSize; j >= 0; j -= blockSize) {
    const width = Math.min(blockSize, n - j);
    const target = block(x, 0, j, x.rows, width);
    const after = n - j - width;
    if (after > 0)
      addProduct(target, block(x, 0, j + width, x.rows, after), block(u, j, j + width, width, after), -1);
    solveUpperDiagonal(target, block(u, j, j, width, width));
  }
  return x;
}

/** A^-1 = L^-T L^-1 from the factor of A, full and exactly symmetric. */
export function inverse(l: Matrix): Matrix {
  const n = l.rows;
  // X L^T = I: X = L^-T is upper triangular, so rows below the diagonal block are never touched.
  const x = matrix(n, n);
  for (let j = 0; j < n; j += blockSize) {
    const width = Math.min(blockSize, n - j);
    for (let i = j; i < j + width; i++) x.data[i * n + i] = 1;
    const target = block(x, 0, j, j + width, width);
    if (j > 0) addProduct(block(x, 0, j, j, width), block(x, 0, 0, j, j), block(l, j, 0, width, j), -1);
    solveLowerDiagonal(target, block(l, j, j, width, width));
  }
  // X X^T, lower blocks; row i of X starts at column i.
  const result = matrix(n, n);
  for (let i = 0; i < n; i += blockSize) {
    const width = Math.min(blockSize, n - i);
    addProduct(
      block(result, i, 0, width, i + width),
      block(x, i, i, width, n - i),
      block(x, 0, i, i + width, n - i),
    );
  }
  mirrorLower(result);
  return result;
}

/** Unblocked Cholesky in place; false when a pivot is not positive. */
function factorDiagonal(a: Matrix): boolean {
  const { data, stride, offset, rows } = a;
  for (let i = 0; i < rows; i++) {
    const row = offset + i * stride;
    for (let j = 0; j <= i; j++) {
      const other = offset + j * stride;
      let sum = data[row + j]!;
      for (let k = 0; k < j; k++) sum -= data[row + k]! * data[other + k]!;
      if (i === j) {
        // Also false for NaN.
        if (!(sum > 0 && sum < Infinity)) return false;
        data[row + i] = Math.sqrt(sum);
      } else data[row + j] = sum / data[other + j]!;
    }
  }
  return true;
}

/** X L^T = B in place, one diagonal block. */
function solveLowerDiagonal(b: Matrix, l: Matrix): void {
  for (let i = 0; i < b.rows; i++) {
    const row = b.offset + i * b.stride;
    for (let j = 0; j < l.rows; j++) {
      const factor = l.offset + j * l.stride;
      let sum = b.data[row + j]!;
      for (let k = 0; k < j; k++) sum -= b.data[row + k]! * l.data[factor + k]!;
      b.data[row + j] = sum / l.data[factor + j]!;
    }
  }
}

/** X L = B in place, one diagonal block of U = L^T. */
function solveUpperDiagonal(b: Matrix, u: Matrix): void {
  for (let i = 0; i < b.rows; i++) {
    const row = b.offset + i * b.stride;
    for (let j = u.rows - 1; j >= 0; j--) {
      const factor = u.offset + j * u.stride;
      let sum = b.data[row + j]!;
      for (let k = j + 1; k < u.rows; k++) sum -= b.data[row + k]! * u.data[factor + k]!;
      b.data[row + j] = sum / u.data[factor + j]!;
    }
  }
}
