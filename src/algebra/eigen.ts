/** All eigenvalues and eigenvectors of a symmetric matrix: Householder's tridiagonal form, then implicit QL. */
import { copy, matrix, transpose, type Matrix } from './matrix.ts';

export interface Eigen {
  /** Descending. */
  readonly values: Float64Array;
  /** (n, n): row k is the unit eigenvector of `values[k]`. */
  readonly vectors: Matrix;
}

/**
 * Eigendecomposition of a symmetric matrix, of which the lower triangle is read: about a second at n = 576.
 * @throws RangeError when the matrix is not finite
 */
export function symmetricEigen(a: Matrix): Eigen {
  if (!copy(a).data.every(Number.isFinite)) throw new RangeError('the matrix is not finite');
  const { diagonal, below, rows } = tridiagonal(a);
  diagonalise(diagonal, below, rows);
  const n = a.rows;
  const order = Array.from({ length: n }, (_, i) => i).sort((i, j) => diagonal[j]! - diagonal[i]!);
  const vectors = matrix(n, n);
  order.forEach((from, to) => vectors.data.set(rows.data.subarray(from * n, (from + 1) * n), to * n));
  return { values: Float64Array.from(order, (i) => diagonal[i]!), vectors };
}

interface Tridiagonal {
  readonly diagonal: Float64Array;
  /** `below[i]` stands under `diagonal[i]`; the last is 0. */
  readonly below: Float64Array;
  /** Q^T of A = Q T Q^T. */
  readonly rows: Matrix;
}

/** A = Q T Q^T by reflections I - scale v v^T, one per column, Q = H_0 H_1 ... */
function tridiagonal(a: Matrix): Tridiagonal {
  const n = a.rows;
  const t = copy(a);
  const below = new Float64Array(n);
  const scales = new Float64Array(n);
  const reflectors = matrix(n, n); // row k: v_k, zero up to k
  const product = new Float64Array(n);
  for (let k = 0; k < n - 1; k++) {
    const v = reflectors.data.subarray(k * n, (k + 1) * n);
    for (let i = k + 1; i < n; i++) v[i] = t.data[i * n + k]!;
    const length = norm(v);
    below[k] = v[k + 1]! > 0 ? -length : length;
    if (length === 0) continue; // nothing to reflect: H = I
    v[k + 1]! -= below[k]!;
    const scale = 2 / norm(v) ** 2;
    scales[k] = scale;
    // w = scale (T v - (scale / 2) (v . T v) v); T -= v w^T + w v^T; of T only the lower triangle is kept.
    const w = product.fill(0);
    for (let i = k + 1; i < n; i++) {
      const row = i * n;
      const vi = v[i]!;
      let sum = t.data[row + i]! * vi;
      for (let j = k + 1; j < i; j++) {
        const value = t.data[row + j]!;
        sum += value * v[j]!;
        w[j]! += value * vi;
      }
      w[i]! += sum;
    }
    let inner = 0;
    for (let i = k + 1; i < n; i++) inner += w[i]! * v[i]!;
    const correction = 0.5 * scale * inner;
    for (let i = k + 1; i < n; i++) w[i] = scale * (w[i]! - correction * v[i]!);
    for (let i = k + 1; i < n; i++) {
      const row = i * n;
      const vi = v[i]!;
      const wi = w[i]!;
      for (let j = k + 1; j <= i; j++) t.data[row + j]! -= vi * w[j]! + wi * v[j]!;
    }
  }
  const q = matrix(n, n);
  for (let i = 0; i < n; i++) q.data[i * n + i] = 1;
  for (let k = n - 2; k >= 0; k--)
    reflectRows(q, reflectors.data.subarray(k * n, (k + 1) * n), scales[k]!, k + 1);
  const diagonal = Float64Array.from({ length: n }, (_, i) => t.data[i * n + i]!);
  return { diagonal, below, rows: transpose(q) };
}

/** M -= v (scale v^T M), where v and the part of M that is not yet the identity start at `first`. */
function reflectRows(m: Matrix, v: Float64Array, scale: number, first: number): void {
  const n = m.columns;
  const sums = new Float64Array(n);
  for (let i = first; i < n; i++) {
    const vi = v[i]!;
    const row = i * n;
    for (let j = first; j < n; j++) sums[j]! += vi * m.data[row + j]!;
  }
  for (let i = first; i < n; i++) {
    const factor = scale * v[i]!;
    const row = i * n;
    for (let j = first; j < n; j++) m.data[row + j]! -= factor * sums[j]!;
  }
}

/**
 * Implicit QL with Wilkinson's shifts (Bowdler, Martin, Reinsch, Wilkinson 1968): `d` becomes the eigenvalues, each
 * rotation of columns i and i + 1 of Q turns rows i and i + 1 of `rows`, which lie contiguous.
 */
function diagonalise(d: Float64Array, e: Float64Array, rows: Matrix): void {
  const n = d.length;
  for (let l = 0; l < n; l++) {
    for (;;) {
      let m = l;
      while (m < n - 1 && Math.abs(e[m]!) > Number.EPSILON * (Math.abs(d[m]!) + Math.abs(d[m + 1]!))) m++;
      if (m === l) break;
      const ratio = (d[l + 1]! - d[l]!) / (2 * e[l]!);
      let g = d[m]! - d[l]! + e[l]! / (ratio + (ratio < 0 ? -1 : 1) * Math.hypot(ratio, 1));
      let [sine, cosine, carried] = [1, 1, 0];
      let i = m - 1;
      for (; i >= l; i--) {
        const f = sine * e[i]!;
        const b = cosine * e[i]!;
        const r = Math.hypot(f, g);
        e[i + 1] = r;
        if (r === 0) {
          d[i + 1]! -= carried;
          e[m] = 0;
          break;
        }
        sine = f / r;
        cosine = g / r;
        g = d[i + 1]! - carried;
        const s = (d[i]! - g) * sine + 2 * cosine * b;
        carried = sine * s;
        d[i + 1] = g + carried;
        g = cosine * s - b;
        rotateRows(rows.data, i * n, n, cosine, sine);
      }
      if (i >= l) continue;
      d[l]! -= carried;
      e[l] = g;
      e[m] = 0;
    }
  }
}

/** The row at `start` and the one after it, turned. */
function rotateRows(data: Float64Array, start: number, n: number, cosine: number, sine: number): void {
  const next = start + n;
  for (let k = 0; k < n; k++) {
    const x = data[start + k]!;
    const y = data[next + k]!;
    data[start + k] = cosine * x - sine * y;
    data[next + k] = sine * x + cosine * y;
  }
}

function norm(v: Float64Array): number {
  let square = 0;
  for (let i = 0; i < v.length; i++) square += v[i]! * v[i]!;
  return Math.sqrt(square);
}
