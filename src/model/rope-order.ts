/** The two row orders of Q and K: halves (j, j + d/2), as Hugging Face has them, and neighbours (2j, 2j + 1). */
import { float32, type Tensor } from '../tensor/index.ts';

/** Whether RoPE turns what a weight of attention gives, so that the order of its rows matters. */
export const isTurned = (weight: string): boolean => ['q', 'k', 'qBias', 'kBias'].includes(weight);

/** Rows of each head from neighbours to halves: (heads * headDim, in) or (heads * headDim) -> same shape. */
export const neighboursToHalves = (tensor: Tensor<'float32'>, headDim: number): Tensor<'float32'> =>
  reorderRows(tensor, headDim, (row) => (row % 2) * (headDim / 2) + Math.floor(row / 2));

/** Rows of each head from halves to neighbours, for writing GGUF: same shape. */
export const halvesToNeighbours = (tensor: Tensor<'float32'>, headDim: number): Tensor<'float32'> =>
  reorderRows(tensor, headDim, (row) => 2 * (row % (headDim / 2)) + Math.floor(row / (headDim / 2)));

/** Moves row r of each head to `target(r)`. */
function reorderRows(
  { data, shape }: Tensor<'float32'>,
  headDim: number,
  target: (row: number) => number,
): Tensor<'float32'> {
  const width = data.length / shape[0]!;
  const moved = new Float32Array(data.length);
  for (let row = 0; row < shape[0]!; row++) {
    const head = row - (row % headDim);
    moved.set(data.subarray(row * width, (row + 1) * width), (head + target(row - head)) * width);
  }
  return float32(moved, shape);
}
