/** Gated FFN (SwiGLU, arXiv 2002.05202) of any width. */
import { z } from 'zod';
import { gemm, mul, silu } from '../graph/index.ts';
import type { Block, Narrowing, TeacherBlock } from './block.ts';
import { contributions, strongestChannels } from './contribution.ts';
import { copies, copy, gatherColumns, gatherRows } from './matrix.ts';

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
  initialise(config, teacher, stream) {
    const reason = swiglu.refuses(config, teacher.config, stream);
    if (reason !== undefined) throw new RangeError(reason);
    const part = swiglu.narrowing!(config, teacher.config);
    if (part === undefined) return copies(teacher.weights);
    return selectChannels(teacher, strongestChannels(part, contributions(teacher, teacher.weights.down!)));
  },
  narrowing({ width }, teacher): Narrowing | undefined {
    const wide = swigluSchema.safeParse(teacher).data?.width;
    if (wide === undefined || width >= wide) return undefined;
    const grid = { groups: 1, channels: 1 };
    return { from: { ...grid, members: wide }, to: { ...grid, members: width } };
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
  { weights: { norm, gate, up, down } }: Pick<TeacherBlock, 'weights'>,
  channels: readonly number[],
): TeacherBlock['weights'] {
  return {
    norm: copy(norm!),
    gate: gatherRows(gate!, channels),
    up: gatherRows(up!, channels),
    down: gatherColumns(down!, channels),
  };
}
