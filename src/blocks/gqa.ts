/** Grouped-query attention (arXiv 2305.13245): the teacher's own, with KV heads merged, or with heads dropped. */
import { z } from 'zod';
import { add, gemm, reshape } from '../graph/index.ts';
import type { Value } from '../graph/index.ts';
import type { Tensor } from '../tensor/tensor.ts';
import { causalAttention } from './attention.ts';
import type { Block, ForwardContext, Narrowing, TeacherBlock, Weights } from './block.ts';
import { contributions, strongestChannels } from './contribution.ts';
import { copy, gatherColumns, gatherRows, poolRows } from './matrix.ts';
import { rmsNorm } from './rms-norm.ts';
import { rotate } from './rope.ts';
import { flattened, servedAttention } from './serving.ts';

const count = z.int().positive();

export const gqaSchema = z
  .strictObject({
    kind: z.literal('gqa'),
    heads: count,
    kvHeads: count,
    /** Even: RoPE turns pairs. */
    headDim: count.multipleOf(2),
    /** Biases on the q, k and v projections (Qwen 2). */
    qkvBias: z.literal(true).exactOptional(),
    /** RMSNorm over each query and key head (Qwen 3). */
    qkNorm: z.literal(true).exactOptional(),
    /** A token sees itself and the `window - 1` tokens before it. */
    window: count.exactOptional(),
  })
  .refine(({ heads, kvHeads }) => heads % kvHeads === 0, {
    path: ['kvHeads'],
    message: 'must divide the number of heads',
  });
export type GqaConfig = z.infer<typeof gqaSchema>;

export const gqa: Block<GqaConfig> = {
  kind: 'gqa',
  slots: ['attention'],
  schema: gqaSchema,
  label: ({ heads, kvHeads, window }, teacher) => {
    const own = gqaSchema.safeParse(teacher).data;
    const dropped = own !== undefined && own.heads !== heads ? `h${heads}-` : '';
    return `${dropped}kv${kvHeads}${window === undefined ? '' : `-w${window}`}`;
  },
  weights: ({ heads, kvHeads, headDim, qkvBias, qkNorm }, { hidden }) => ({
    norm: [hidden],
    q: [heads * headDim, hidden],
    k: [kvHeads * headDim, hidden],
    v: [kvHeads * headDim, hidden],
    o: [hidden, heads * headDim],
    ...(qkvBias && { qBias: [heads * headDim], kBias: [kvHeads * headDim], vBias: [kvHeads * headDim] }),
    ...(qkNorm && { qNorm: [headDim], kNorm: [headDim] }),
  }),
  output: 'o',
  features(normed, w, context) {
    const { config, batch, tokens } = context;
    const { q, k, v } = projections(normed, w, context);
    return reshape(causalAttention(q, k, v, config.window), [batch * tokens, config.heads * config.headDim]);
  },
  serve(normed, w, cache, context) {
    const { config, stream, batch, tokens } = context;
    const { heads, kvHeads, headDim } = config;
    const project = (matrix: Value, bias: Value | undefined): Value => {
      const flat = gemm(normed, matrix, { transposeB: true }); // (rows, hidden) x (hidden, width)
      return bias === undefined ? flat : add(flat, bias);
    };
    const perHead = (x: Value, norm: Value | undefined, headCount: number): Value => {
      if (norm === undefined) return x;
      const rows = batch * tokens;
      const normedHeads = rmsNorm(flattened(x, [rows * headCount, headDim]), norm, stream.normEpsilon);
      return flattened(normedHeads, [rows, headCount * headDim]);
    };
    const q = perHead(project(w.q!, w.qBias), w.qNorm, heads);
    const k = perHead(project(w.k!, w.kBias), w.kNorm, kvHeads);
    return servedAttention(q, k, project(w.v!, w.vBias), cache, context);
  },
  servingCacheShape: ({ kvHeads, headDim }, batch, length) => [batch, kvHeads, length, headDim],
  refuses(config, teacher) {
    const own = gqaSchema.safeParse(teacher).data;
    if (own === undefined) return `a teacher's ${teacher.kind} has no heads to merge`;
    const { heads, kvHeads, window: _, ...rest } = config;
    const differing = Object.entries(rest).find(([field, value]) => own[field as keyof GqaConfig] !== value);
    if (differing !== undefined) return `${differing[0]} differs from the teacher's`;
    if (heads !== own.heads)
      return droppedHeads(config, own) === undefined
        ? `${heads} query heads in ${kvHeads} KV groups are no part of the teacher's ${own.heads} in ${own.kvHeads}`
        : undefined;
    return own.kvHeads % kvHeads === 0
      ? undefined
      : `${kvHeads} KV heads do not divide the teacher's ${own.kvHeads}`;
  },
  /**
   * Fewer query heads: those of largest contribution stay, as FFN channels do. Fewer KV heads for the same queries: K
   * and V are mean-pooled over merged groups; RoPE turns all heads alike, so pooling commutes with it.
   */
  initialise(config, teacher, stream) {
    const reason = gqa.refuses(config, teacher.config, stream);
    if (reason !== undefined) throw new RangeError(reason);
    const { weights } = teacher;
    const part = droppedHeads(config, gqaSchema.parse(teacher.config));
    if (part !== undefined)
      return selectChannels(teacher, strongestChannels(part, contributions(teacher, weights.o!)));
    const pooled = new Set(['k', 'v', 'kBias', 'vBias']);
    return Object.fromEntries(
      Object.entries(weights).map(([name, tensor]) => [
        name,
        pooled.has(name) ? poolRows(tensor, config.headDim, config.kvHeads) : copy(tensor),
      ]),
    );
  },
  narrowing(config, teacher) {
    const own = gqaSchema.safeParse(teacher).data;
    const isSameWindow = own?.window === config.window; // else the features are others
    return own !== undefined && isSameWindow ? droppedHeads(config, own) : undefined;
  },
  selectChannels,
  kvElementsPerToken: ({ kvHeads, headDim }) => 2 * kvHeads * headDim,
  operators: ({ heads, kvHeads, headDim, qkvBias, qkNorm, window }, { hidden }) => [
    { kind: 'norm', width: hidden },
    {
      kind: 'gemm', // q, k and v in one product
      n: (heads + 2 * kvHeads) * headDim,
      k: hidden,
      parallel: 'column',
      ...(qkvBias && { bias: true }),
    },
    ...(qkNorm ? [{ kind: 'norm', width: (heads + kvHeads) * headDim } as const] : []),
    { kind: 'attention', heads, kvHeads, headDim, ...(window !== undefined && { window }) },
    { kind: 'gemm', n: hidden, k: heads * headDim, parallel: 'row' },
    { kind: 'all-reduce', elements: hidden },
    { kind: 'elementwise', reads: 2 * hidden, writes: hidden, flops: hidden }, // the residual sum
  ],
};

const gridOf = ({ heads, kvHeads, headDim }: GqaConfig): Narrowing['from'] => ({
  groups: kvHeads,
  members: heads / kvHeads,
  channels: headDim,
});

/** A block with fewer query heads as a part of the teacher's; undefined where it is none. */
function droppedHeads(config: GqaConfig, teacher: GqaConfig): Narrowing | undefined {
  const [from, to] = [gridOf(teacher), gridOf(config)];
  const isPart = config.heads < teacher.heads && to.groups <= from.groups && to.members <= from.members;
  return isPart ? { from, to } : undefined;
}

/** Rows of Q and columns of W_O of the channels given, rows of K and V of their groups. */
function selectChannels(
  { config, weights }: Pick<TeacherBlock, 'config' | 'weights'>,
  channels: readonly number[],
): Weights<Tensor<'float32'>> {
  const { members, channels: headDim } = gridOf(gqaSchema.parse(config));
  const groups = [...new Set(channels.map((channel) => Math.floor(channel / (members * headDim))))];
  const kvRows = groups.flatMap((group) => Array.from({ length: headDim }, (_, i) => group * headDim + i));
  const rows: Readonly<Record<string, readonly number[]>> = {
    q: channels,
    qBias: channels,
    k: kvRows,
    kBias: kvRows,
    v: kvRows,
    vBias: kvRows,
  };
  return Object.fromEntries(
    Object.entries(weights).map(([name, tensor]) => {
      if (name === 'o') return [name, gatherColumns(tensor, channels)];
      return [name, rows[name] === undefined ? copy(tensor) : gatherRows(tensor, rows[name])];
    }),
  );
}

/** Queries, keys and values (batch, tokens, heads, headDim); queries and keys turned by their positions. */
function projections(
  normed: Value,
  w: Weights<Value>,
  { config, stream, batch, tokens }: ForwardContext<GqaConfig>,
): { q: Value; k: Value; v: Value } {
  const { heads, kvHeads, headDim } = config;
  const project = (matrix: Value, bias: Value | undefined, headCount: number): Value => {
    const flat = gemm(normed, matrix, { transposeB: true }); // (rows, hidden) x (hidden, heads * headDim)
    return reshape(bias === undefined ? flat : add(flat, bias), [batch, tokens, headCount, headDim]);
  };
  const turned = (x: Value, norm: Value | undefined): Value =>
    rotate(norm === undefined ? x : rmsNorm(x, norm, stream.normEpsilon), stream);
  return {
    q: turned(project(w.q!, w.qBias, heads), w.qNorm),
    k: turned(project(w.k!, w.kBias, kvHeads), w.kNorm),
    v: project(w.v!, w.vBias, kvHeads),
  };
}
