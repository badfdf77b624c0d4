/** The few matrix operations that initialisations need, on row-major float32 of the host. */
import { float32 } from '../tensor/tensor.ts';
import type { Tensor } from '../tensor/tensor.ts';

type Matrix = Tensor<'float32'>;

/** (rows, inner) x (inner, columns) -> (rows, columns). Four rows at a time, so that each row of `b` is read once. */
export function product(a: Matrix, b: Matrix): Matrix {
  const [rows, inner] = [a.shape[0]!, a.shape[1]!];
  const columns = b.shape[1]!;
  const out = new Float32Array(rows * columns);
  for (let row = 0; row < rows; row += 4) {
    const block = Math.min(4, rows - row);
    const lines = Array.from({ length: 4 }, (_, i) =>
      i < block ? out.subarray((row + i) * columns, (row + i + 1) * columns) : new Float32Array(columns),
    );
    const [out0, out1, out2, out3] = lines as [Float32Array, Float32Array, Float32Array, Float32Array];
    const at = (i: number, k: number): number => (i < block ? a.data[(row + i) * inner + k]! : 0);
    for (let k = 0; k < inner; k++) {
      const [a0, a1, a2, a3] = [at(0, k), at(1, k), at(2, k), at(3, k)];
      const line = b.data.subarray(k * columns, (k + 1) * columns);
      for (let j = 0; j < columns; j++) {
        const value = line[j]!;
        out0[j]! += a0 * value;
        out1[j]! += a1 * value;
        out2[j]! += a2 * value;
        out3[j]! += a3 * value;
      }
    }
  }
  return float32(out, [rows, columns]);
}

/** The rows (of a matrix) or elements (of a vector) at `indices`, in that order. */
export function gatherRows(x: Matrix, indices: readonly number[]): Matrix {
  const width = x.data.length / x.shape[0]!;
  const out = new Float32Array(indices.length * width);
  indices.forEach((index, i) => out.set(x.data.subarray(index * width, (index + 1) * width), i * width));
  return float32(out, [indices.length, ...x.shape.slice(1)]);
}

/** The columns at `indices`, in that order. */
export function gatherColumns(x: Matrix, indices: readonly number[]): Matrix {
  const [rows, columns] = [x.shape[0]!, x.shape[1]!];
  const out = new Float32Array(rows * indices.length);
  for (let row = 0; row < rows; row++) {
    for (let i = 0; i < indices.length; i++) {
      out[row * indices.length + i] = x.data[row * columns + indices[i]!]!;
    }
  }
  return float32(out, [rows, indices.length]);
}

/** Means of `count` runs of equally many groups of `size` rows: (groups * size, ...) -> (count * size, ...). */
export function poolRows(x: Matrix, size: number, count: number): Matrix {
  const groupLength = (x.data.length / x.shape[0]!) * size;
  const merged = x.data.length / groupLength / count;
  const out = new Float32Array(count * groupLength);
  for (let group = 0; group < count; group++) {
    for (let i = 0; i < groupLength; i++) {
      let sum = 0;
      for (let member = 0; member < merged; member++) {
        sum += x.data[(group * merged + member) * groupLength + i]!;
      }
      out[group * groupLength + i] = sum / merged;
    }
  }
  return float32(out, [count * size, ...x.shape.slice(1)]);
}

export function transposed(x: Matrix): Matrix {
  const [rows, columns] = [x.shape[0]!, x.shape[1]!];
  const out = new Float32Array(x.data.length);
  for (let row = 0; row < rows; row++)
    for (let column = 0; column < columns; column++)
      out[column * rows + row] = x.data[row * columns + column]!;
  return float32(out, [columns, rows]);
}

/** L2 norm of each column. */
export function columnNorms(x: Matrix): Float64Array {
  const columns = x.shape[1]!;
  const squares = new Float64Array(columns);
  for (let i = 0; i < x.data.length; i++) squares[i % columns]! += x.data[i]! ** 2;
  return squares.map(Math.sqrt);
}

export const copy = (x: Matrix): Matrix => float32(x.data.slice(), x.shape);

/** A block's weights in arrays of their own. */
export const copies = (weights: Readonly<Record<string, Matrix>>): Record<string, Matrix> =>
  Object.fromEntries(Object.entries(weights).map(([name, tensor]) => [name, copy(tensor)]));
