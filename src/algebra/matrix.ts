/** A float64 matrix: a rectangle of one flat row-major array, so that blocks of it cost nothing. */

export interface Matrix {
  readonly rows: number;
  readonly columns: number;
  /** Distance between the starts of two rows. */
  readonly stride: number;
  readonly offset: number;
  readonly data: Float64Array;
}

/** A (rows, columns) matrix over `data`, which is kept, not copied; zeros when none is given. */
export function matrix(rows: number, columns: number, data = new Float64Array(rows * columns)): Matrix {
  if (data.length !== rows * columns)
    throw new RangeError(`${data.length} elements do not fill (${rows}, ${columns})`);
  return { rows, columns, stride: columns, offset: 0, data };
}

/** The (rows, columns) rectangle of `m` whose first element is (row, column); it shares `m`'s memory. */
export function block(m: Matrix, row: number, column: number, rows: number, columns: number): Matrix {
  return { rows, columns, stride: m.stride, offset: m.offset + row * m.stride + column, data: m.data };
}

/** A dense copy of `m` in float64. */
export function copy(m: Matrix): Matrix {
  const result = matrix(m.rows, m.columns);
  for (let i = 0; i < m.rows; i++) {
    const start = m.offset + i * m.stride;
    result.data.set(m.data.subarray(start, start + m.columns), i * m.columns);
  }
  return result;
}

/** A dense transposed copy, tile by tile so that neither side leaves the cache. */
export function transpose(m: Matrix): Matrix {
  const tile = 32;
  const { rows, columns, stride, offset, data } = m;
  const result = matrix(columns, rows);
  for (let i0 = 0; i0 < rows; i0 += tile)
    for (let j0 = 0; j0 < columns; j0 += tile)
      for (let i = i0; i < Math.min(rows, i0 + tile); i++)
        for (let j = j0; j < Math.min(columns, j0 + tile); j++)
          result.data[j * rows + i] = data[offset + i * stride + j]!;
  return result;
}

/** The rows of both, as a dense matrix. */
export function stack(above: Matrix, below: Matrix): Matrix {
  const result = matrix(above.rows + below.rows, above.columns);
  result.data.set(copy(above).data);
  result.data.set(copy(below).data, above.rows * above.columns);
  return result;
}

/** `m[rows[i], columns[j]]` as a dense matrix. */
export function select(m: Matrix, rows: ArrayLike<number>, columns: ArrayLike<number>): Matrix {
  const result = matrix(rows.length, columns.length);
  for (let i = 0; i < rows.length; i++) {
    const source = m.offset + rows[i]! * m.stride;
    const target = i * columns.length;
    for (let j = 0; j < columns.length; j++) result.data[target + j] = m.data[source + columns[j]!]!;
  }
  return result;
}

/** Copies the lower triangle of a square matrix into its upper one, in place. */
export function mirrorLower(m: Matrix): void {
  for (let i = 0; i < m.rows; i++)
    for (let j = 0; j < i; j++) m.data[m.offset + j * m.stride + i] = m.data[m.offset + i * m.stride + j]!;
}

/** Of a square matrix. */
export function meanDiagonal({ data, offset, stride, rows }: Matrix): number {
  let trace = 0;
  for (let i = 0; i < rows; i++) trace += data[offset + i * (stride + 1)]!;
  return trace / rows;
}

/** A + value I, as a new matrix. */
export function plusDiagonal(a: Matrix, value: number): Matrix {
  const sum = copy(a);
  for (let i = 0; i < sum.rows; i++) sum.data[i * (sum.rows + 1)]! += value;
  return sum;
}
