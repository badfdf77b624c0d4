/** Gated FFN (SwiGLU, arXiv 2002.05202) of any width. */
import { z } from 'zod';
import { gemm, mul, silu } from '../graph/index.ts';
import type { Block, TeacherBlock } from './block.ts';
import { columnNorms, copy, gatherColumns, gatherRows } from './matrix.ts';

export const swigluSchema = z.strictObject({ kind: z.literal('swiglu'), width: z.int().positive() });
export type SwigluConfig = z.infer<typeof swigluSchema>;

export const swiglu: Block<SwigluConfig> = {
  kind: 'swiglu',
  slots: ['ffn'],
  schema: swigluSchema,
  label: ({ width }) => String(width),
  weights: ({ width }, { hidden }) => ({
    norm: [hidden],
    gate: [width, hidden],
    up: [width, hidden],
    down: [hidden, width],
  }),
  output: 'down',
  features(normed, { gate, up }) {
    const opened = silu(gemm(normed, gate!, { transposeB: true })); // (rows, hidden) x (hidden, width)
    return mul(opened, gemm(normed, up!, { transposeB: true })); // (rows, width)
  },
  refuses({ width }, teacher) {
    const wide = swigluSchema.safeParse(teacher).data?.width;
    if (wide === undefined) return `a teacher's ${teacher.kind} has no channels to keep`;
    return width <= wide ? undefined : `the teacher's FFN is only ${wide} wide`;
  },
  initialise({ width }, teacher) {
    return selectChannels(teacher.weights, strongestChannels(width, teacher));
  },
  selectChannels,
  kvElementsPerToken: () => 0,
  operators: ({ width }, { hidden }) => [
    { kind: 'norm', width: hidden },
    { kind: 'gemm', n: 2 * width, k: hidden, parallel: 'column' }, // gate and up in one product
    { kind: 'elementwise', reads: 2 * width, writes: width, flops: 5 * width },
    { kind: 'gemm', n: hidden, k: width, parallel: 'row' },
    { kind: 'all-reduce', elements: hidden },
    { kind: 'elementwise', reads: 2 * hidden, writes: hidden, flops: hidden }, // the residual sum
  ],
};

function selectChannels(
  { norm, gate, up, down }: TeacherBlock['weights'],
  channels: readonly number[],
): TeacherBlock['weights'] {
  return {
    norm: copy(norm!),
    gate: gatherRows(gate!, channels),
    up: gatherRows(up!, channels),
    down: gatherColumns(down!, channels),
  };
}

/**
 * Channels of the largest contribution C_i = mean |h_i| * ||W_down[:, i]|| (arXiv 2411.19146, sec. 3), in the
 * teacher's order.
 */
function strongestChannels(width: number, { config, weights, meanAbsFeature }: TeacherBlock): number[] {
  const reason = swiglu.refuses({ kind: 'swiglu', width }, config);
  if (reason !== undefined) throw new RangeError(reason);
  if (width === config.width) return Array.from({ length: width }, (_, channel) => channel);
  if (meanAbsFeature === undefined)
    throw new RangeError('ranking channels needs the mean |activation| of each');
  const contribution = columnNorms(weights.down!).map((norm, channel) => norm * meanAbsFeature[channel]!);
  return Array.from(contribution.keys())
    .sort((a, b) => contribution[b]! - contribution[a]! || a - b)
    .slice(0, width)
    .sort((a, b) => a - b);
}
