/** Closed forms: the output matrix of a block fitted to the teacher's outputs, and which channels to fit it on. */
import { blockOf, type TeacherBlock, type Weights } from '../blocks/index.ts';
import type { BlockConfig } from '../model/architecture.ts';
import { float32, type Tensor } from '../tensor/tensor.ts';
import { eliminationOrder } from './elimination.ts';
import { dampened, dampenedFactor, nestedLeastSquares, ridge, type Moments } from './least-squares.ts';
import { addProduct, inverse, matrix, type Matrix } from '../algebra/index.ts';

/**
 * Which channels of an FFN stay: `elimination` drops the one that costs least, again and again, with the output
 * matrix refitted each time; `contribution` is the paper's mean |h_i| * ||W_down[:, i]||.
 */
export type Ranking = 'elimination' | 'contribution';

/** Channels of the teacher, the most valuable first. */
export function rankChannels(
  ranking: Ranking,
  { config, weights, meanAbsFeature }: TeacherBlock,
  gram: Matrix,
): Int32Array {
  const w0 = toMatrix(weights[blockOf(config).output!]!); // (hidden, features)
  if (ranking === 'elimination') return eliminationOrder(inverse(dampenedFactor(gram)), w0);
  const contribution = Array.from(meanAbsFeature!, (mean, channel) => {
    let square = 0;
    for (let i = 0; i < w0.rows; i++) square += w0.data[i * w0.columns + channel]! ** 2;
    return mean * Math.sqrt(square);
  });
  const channels = Int32Array.from(contribution.keys());
  return channels.sort((a, b) => contribution[b]! - contribution[a]! || a - b);
}

/**
 * The teacher's block on the first channels of `order`, its output matrix refitted, for several widths at once:
 * min_W sum ||W_0 h - W h_kept||^2 + lambda ||W||^2, from the teacher's own Gram matrix.
 */
export function narrowed(
  { config, weights }: TeacherBlock,
  gram: Matrix,
  order: Int32Array,
  widths: readonly number[],
): readonly Weights<Tensor<'float32'>>[] {
  const block = blockOf(config);
  const output = block.output!;
  const w0 = toMatrix(weights[output]!);
  const cross = matrix(w0.rows, w0.columns); // W_0 G = sum y h^T: the teacher is linear in its features
  addProduct(cross, w0, gram);
  const fitted = nestedLeastSquares(dampened(gram), cross, order, widths);
  return widths.map((width, i) => ({
    ...block.selectChannels!({ config, weights }, Array.from(order.subarray(0, width))),
    [output]: toTensor(fitted[i]!),
  }));
}

/** A block with its output matrix refitted to the teacher's outputs; all else stays. */
export const refitted = (
  config: BlockConfig,
  weights: Weights<Tensor<'float32'>>,
  statistics: Moments,
): Weights<Tensor<'float32'>> => ({ ...weights, [blockOf(config).output!]: toTensor(ridge(statistics)) });

export const toMatrix = ({ data, shape }: Tensor<'float32'>): Matrix =>
  matrix(shape[0]!, shape[1]!, Float64Array.from(data));

export const toTensor = ({ data, rows, columns }: Matrix): Tensor<'float32'> =>
  float32(Float32Array.from(data), [rows, columns]);
