/**
 * C += alpha A B^T in float64: the one kernel that everything else here is built on. Tiles of A and B are packed
 * into small contiguous buffers (no cache conflicts at power-of-two strides), a 4 x 2 register tile does the work:
 * 4.5 GFLOP/s a thread where a plain triple loop does about 1.
 */
import type { Matrix } from './matrix.ts';

const tileRows = 48;
const tileColumns = 96;
const tileDepth = 128;
const packedA = new Float64Array(tileRows * tileDepth);
const packedB = new Float64Array(tileColumns * tileDepth);

/**
 * Adds `alpha` A B^T to C.
 *
 * @param c (m, n)
 * @param a (m, k)
 * @param b (n, k)
 * @param part `lower` leaves tiles wholly above the diagonal untouched: half the work for a symmetric C, whose
 *   elements above the diagonal are then undefined.
 */
export function addProduct(c: Matrix, a: Matrix, b: Matrix, alpha = 1, part: 'all' | 'lower' = 'all'): void {
  for (let k0 = 0; k0 < a.columns; k0 += tileDepth) {
    const depth = Math.min(tileDepth, a.columns - k0);
    for (let j0 = 0; j0 < c.columns; j0 += tileColumns) {
      const columns = Math.min(tileColumns, c.columns - j0);
      pack(packedB, b, j0, k0, columns, depth, 2);
      const first = part === 'lower' ? Math.floor(j0 / tileRows) * tileRows : 0;
      for (let i0 = first; i0 < c.rows; i0 += tileRows) {
        const rows = Math.min(tileRows, c.rows - i0);
        pack(packedA, a, i0, k0, rows, depth, 4);
        multiplyTile(c, i0, j0, rows, columns, depth, alpha);
      }
    }
  }
}

/** Copies a tile so that `group` rows lie interleaved, one element of each after the other; missing rows are zero. */
function pack(
  target: Float64Array,
  m: Matrix,
  row: number,
  column: number,
  rows: number,
  depth: number,
  group: number,
): void {
  const { data, stride } = m;
  const start = m.offset + row * stride + column;
  for (let i = 0; i < rows; i += group)
    for (let r = 0; r < group; r++) {
      const to = i * depth + r;
      const from = start + (i + r) * stride;
      if (i + r < rows) for (let k = 0; k < depth; k++) target[to + k * group] = data[from + k]!;
      else for (let k = 0; k < depth; k++) target[to + k * group] = 0;
    }
}

function multiplyTile(
  c: Matrix,
  row: number,
  column: number,
  rows: number,
  columns: number,
  depth: number,
  alpha: number,
): void {
  const a = packedA;
  const b = packedB;
  const { data, stride } = c;
  for (let i = 0; i < rows; i += 4) {
    for (let j = 0; j < columns; j += 2) {
      let s00 = 0,
        s01 = 0,
        s10 = 0,
        s11 = 0,
        s20 = 0,
        s21 = 0,
        s30 = 0,
        s31 = 0;
      let p = i * depth;
      let q = j * depth;
      for (const end = p + 4 * depth; p < end; p += 4, q += 2) {
        const a0 = a[p]!,
          a1 = a[p + 1]!,
          a2 = a[p + 2]!,
          a3 = a[p + 3]!;
        const b0 = b[q]!,
          b1 = b[q + 1]!;
        s00 += a0 * b0;
        s10 += a1 * b0;
        s20 += a2 * b0;
        s30 += a3 * b0;
        s01 += a0 * b1;
        s11 += a1 * b1;
        s21 += a2 * b1;
        s31 += a3 * b1;
      }
      const both = j + 1 < columns;
      let to = c.offset + (row + i) * stride + column + j;
      data[to]! += alpha * s00;
      if (both) data[to + 1]! += alpha * s01;
      if (i + 1 >= rows) continue;
      to += stride;
      data[to]! += alpha * s10;
      if (both) data[to + 1]! += alpha * s11;
      if (i + 2 >= rows) continue;
      to += stride;
      data[to]! += alpha * s20;
      if (both) data[to + 1]! += alpha * s21;
      if (i + 3 >= rows) continue;
      to += stride;
      data[to]! += alpha * s30;
      if (both) data[to + 1]! += alpha * s31;
    }
  }
}
