/** A linear map of limited rank in place of a whole sub-layer: two thin matrices, after the norm of the teacher. */
import { z } from 'zod';
import { addProduct, matrix, symmetricEigen } from '../algebra/index.ts';
import { gemm } from '../graph/index.ts';
import { float32, type Tensor } from '../tensor/tensor.ts';
import type { Block } from './block.ts';
import { linear } from './linear.ts';
import { copies, gatherRows, product, transposed } from './matrix.ts';

const lowRankSchema = z.strictObject({ kind: z.literal('low-rank'), rank: z.int().positive() });
type LowRankConfig = z.infer<typeof lowRankSchema>;

export const lowRank: Block<LowRankConfig> = {
  kind: 'low-rank',
  slots: ['attention', 'ffn'],
  schema: lowRankSchema,
  label: ({ rank }) => `rank${rank}`,
  weights: ({ rank }, { hidden }) => ({ norm: [hidden], reduce: [rank, hidden], expand: [hidden, rank] }),
  output: 'expand',
  features: (normed, { reduce }) => gemm(normed, reduce!, { transposeB: true }), // (rows, hidden) x (hidden, rank)
  refuses({ rank }, teacher, stream) {
    if (rank > stream.hidden) return `a map of the stream has no rank above ${stream.hidden}`;
    return teacher.kind === 'low-rank' && teacher['rank'] === rank
      ? undefined
      : linear.refuses({ kind: 'linear' }, teacher, stream);
  },
  /** The matrix that `linear` starts from, cut to its leading singular directions. */
  initialise(config, teacher, stream) {
    const reason = lowRank.refuses(config, teacher.config, stream);
    if (reason !== undefined) throw new RangeError(reason);
    if (teacher.config.kind === 'low-rank') return copies(teacher.weights);
    const { norm, linear: map } = linear.initialise({ kind: 'linear' }, teacher, stream);
    const basis = leadingOutputs(map!, config.rank); // (rank, hidden), orthonormal rows
    return { norm: norm!, reduce: product(basis, map!), expand: transposed(basis) };
  },
  linearMap: {
    rank: ({ rank }) => rank,
    weights: (norm, expand, reduce) => ({ norm, reduce: reduce!, expand }),
  },
  kvElementsPerToken: () => 0,
  operators: ({ rank }, { hidden }) => [
    { kind: 'norm', width: hidden },
    { kind: 'gemm', n: rank, k: hidden, parallel: 'none' },
    { kind: 'gemm', n: hidden, k: rank, parallel: 'none' },
    { kind: 'elementwise', reads: 2 * hidden, writes: hidden, flops: hidden }, // the residual sum
  ],
};

/** The leading left singular vectors of a matrix, in rows: (outputs, inputs) -> (rank, outputs). */
function leadingOutputs({ data, shape }: Tensor<'float32'>, rank: number): Tensor<'float32'> {
  const [outputs, inputs] = shape as [number, number];
  const map = matrix(outputs, inputs, Float64Array.from(data));
  const gram = matrix(outputs, outputs);
  addProduct(gram, map, map); // W W^T
  const { vectors } = symmetricEigen(gram);
  const all = float32(Float32Array.from(vectors.data), [outputs, outputs]);
  return gatherRows(
    all,
    Array.from({ length: rank }, (_, i) => i),
  );
}
