/** Grouped-query attention (arXiv 2305.13245): the teacher's own, or with fewer KV heads. */
import { z } from 'zod';
import { add, gemm, reshape } from '../graph/index.ts';
import type { Value } from '../graph/index.ts';
import { cachedAttention, causalAttention } from './attention.ts';
import type { Block, ForwardContext, Weights } from './block.ts';
import { copy, poolRows } from './matrix.ts';
import { rmsNorm } from './rms-norm.ts';
import { rotate } from './rope.ts';

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
  label: ({ kvHeads, window }) => `kv${kvHeads}${window === undefined ? '' : `-w${window}`}`,
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
    const { q, k, v } = projections(normed, w, context, 0);
    return reshape(causalAttention(q, k, v, config.window), [batch * tokens, config.heads * config.headDim]);
  },
  decodeFeatures(normed, w, { keys, values }, context) {
    const { heads, headDim } = context.config;
    const { q, k, v } = projections(normed, w, { ...context, tokens: 1 }, context.length);
    return reshape(cachedAttention(q, k, v, keys, values), [context.batch, heads * headDim]);
  },
  cacheShapes({ kvHeads, headDim, window = Infinity }, batch, length) {
    const kept = Math.min(length, window - 1);
    return { keys: [batch, kvHeads, headDim, kept], values: [batch, kvHeads, kept, headDim] };
  },
  refuses(config, teacher) {
    const own = gqaSchema.safeParse(teacher).data;
    if (own === undefined) return `a teacher's ${teacher.kind} has no heads to merge`;
    if (own.kvHeads % config.kvHeads !== 0)
      return `${config.kvHeads} KV heads do not divide the teacher's ${own.kvHeads}`;
    const { kvHeads: _, window: __, ...rest } = config;
    const differing = Object.entries(rest).find(([field, value]) => own[field as keyof GqaConfig] !== value);
    return differing === undefined ? undefined : `${differing[0]} differs from the teacher's`;
  },
  /** K and V are mean-pooled over merged groups; RoPE turns all heads alike, so pooling commutes with it. */
  initialise(config, { config: from, weights }) {
    const reason = gqa.refuses(config, from);
    if (reason !== undefined) throw new RangeError(reason);
    const pooled = new Set(['k', 'v', 'kBias', 'vBias']);
    return Object.fromEntries(
      Object.entries(weights).map(([name, tensor]) => [
        name,
        pooled.has(name) ? poolRows(tensor, config.headDim, config.kvHeads) : copy(tensor),
      ]),
    );
  },
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

/** Queries, keys and values (batch, tokens, heads, headDim); queries and keys turned, the first token at `start`. */
function projections(
  normed: Value,
  w: Weights<Value>,
  { config, stream, batch, tokens }: ForwardContext<GqaConfig>,
  start: number,
): { q: Value; k: Value; v: Value } {
  const { heads, kvHeads, headDim } = config;
  const project = (matrix: Value, bias: Value | undefined, headCount: number): Value => {
    const flat = gemm(normed, matrix, { transposeB: true }); // (rows, hidden) x (hidden, heads * headDim)
    return reshape(bias === undefined ? flat : add(flat, bias), [batch, tokens, headCount, headDim]);
  };
  const turned = (x: Value, norm: Value | undefined): Value =>
    rotate(norm === undefined ? x : rmsNorm(x, norm, stream.normEpsilon), stream, start);
  return {
    q: turned(project(w.q!, w.qBias, heads), w.qNorm),
    k: turned(project(w.k!, w.kBias, kvHeads), w.kNorm),
    v: project(w.v!, w.vBias, kvHeads),
  };
}
