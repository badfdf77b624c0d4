/** One matrix in place of a whole sub-layer, after the norm that the teacher has there. */
import { z } from 'zod';
import type { BlockConfig } from '../model/architecture.ts';
import type { Tensor } from '../tensor/tensor.ts';
import type { Block, TeacherBlock } from './block.ts';
import { gqaSchema } from './gqa.ts';
import { copy, gatherRows, product } from './matrix.ts';

export const linearSchema = z.strictObject({ kind: z.literal('linear') });
type LinearConfig = z.infer<typeof linearSchema>;

export const linear: Block<LinearConfig> = {
  kind: 'linear',
  slots: ['attention', 'ffn'],
  schema: linearSchema,
  label: () => 'linear',
  weights: (_, { hidden }) => ({ norm: [hidden], linear: [hidden, hidden] }),
  output: 'linear',
  features: (normed) => normed,
  refuses: (_, teacher) =>
    Object.hasOwn(collapse, teacher.kind)
      ? undefined
      : `a teacher's ${teacher.kind} has no matrices to multiply`,
  initialise(config, teacher, stream) {
    const reason = linear.refuses(config, teacher.config, stream);
    if (reason !== undefined) throw new RangeError(reason);
    return { norm: copy(teacher.weights.norm!), linear: collapse[teacher.config.kind]!(teacher) };
  },
  linearMap: { weights: (norm, linear) => ({ norm, linear }) },
  kvElementsPerToken: () => 0,
  operators: (_, { hidden }) => [
    { kind: 'norm', width: hidden },
    { kind: 'gemm', n: hidden, k: hidden, parallel: 'none' },
    { kind: 'elementwise', reads: 2 * hidden, writes: hidden, flops: hidden }, // the residual sum
  ],
};

/** The matrix that each kind of teacher becomes (arXiv 2411.19146, sec. 3). */
const collapse: Readonly<Record<string, (teacher: TeacherBlock) => Tensor<'float32'>>> = {
  /** W_down . W_up: the gate is ignored. (hidden, width) x (width, hidden) */
  swiglu: ({ weights }) => product(weights.down!, weights.up!),
  /** W_O . W_V, V repeated for the heads of its group: a token that attends only to itself. */
  gqa: ({ config, weights }) => product(weights.o!, gatherRows(weights.v!, valueRowOfFeature(config))),
  linear: ({ weights }) => copy(weights.linear!),
};

/** For each feature that enters W_O, (heads, headDim) flattened, the row of W_V it comes from. */
function valueRowOfFeature(config: BlockConfig): number[] {
  const { heads, kvHeads, headDim } = gqaSchema.parse(config);
  return Array.from({ length: heads * headDim }, (_, feature) => {
    const group = Math.floor(Math.floor(feature / headDim) / (heads / kvHeads));
    return group * headDim + (feature % headDim);
  });
}
