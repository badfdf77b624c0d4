/** Attention as servers run it: one kernel of ONNX Runtime that turns, caches and attends, for any number of new tokens. */
import { concat, constant, fused, result, type Value } from '../graph/index.ts';
import type { StreamConfig } from '../model/architecture.ts';
import { elementCount, float32, type Shape, type Tensor } from '../tensor/tensor.ts';
import { ropeFrequencies } from './rope.ts';

/**
 * New tokens of `batch` sequences after those in a cache. Graphs made of it hold for every batch, token count and cache
 * length (`symbolicGraph`), so lengths are values here.
 */
export interface ServingContext<C> {
  readonly config: C;
  readonly stream: StreamConfig;
  readonly batch: number;
  /** New tokens of each sequence; the stream is (batch * tokens, hidden). */
  readonly tokens: number;
  /** `[batch, tokens]` as int64 (2). */
  readonly rows: Value;
  /** Index of each sequence's last token, those in the cache counted: int32 (batch). */
  readonly last: Value;
  /** Tokens of the longest sequence, those in the cache counted: int32 (1). */
  readonly total: Value;
  /** Length of the cache after the run. */
  readonly present: number;
  /** cos and sin of the angles (positions, headDim / 2). */
  rotation(headDim: number): { readonly cos: Value; readonly sin: Value };
}

/** A layer's keys and values, each (batch, kvHeads, length, headDim). */
export interface ServingCache<T> {
  readonly keys: T;
  readonly values: T;
}

export interface Served {
  /** What enters the output matrix: (batch * tokens, features). */
  readonly features: Value;
  /** The cache with the new tokens in it. */
  readonly cache: ServingCache<Value>;
}

/** Heads' widths for which the kernel turns pairs: it does so eight at a time. */
export const servingHeadMultiple = 16;

/**
 * Rotary attention of new tokens over the cache and themselves.
 * q (batch * tokens, heads * headDim), k and v (batch * tokens, kvHeads * headDim) -> (batch * tokens, heads * headDim)
 */
export function servedAttention(
  q: Value,
  k: Value,
  v: Value,
  cache: ServingCache<Value>,
  { config, batch, tokens, rows, last, total, present, rotation }: ServingContext<ServedHeads>,
): Served {
  const { heads, kvHeads, headDim, window } = config;
  const cached = { dtype: q.dtype, shape: [batch, kvHeads, present, headDim] };
  const { cos, sin } = rotation(headDim);
  const { dtype } = q;
  const perToken = (x: Value): Value => withRows(x, rows, [batch, tokens]); // (batch, tokens, width)
  const context = fused(
    'com.microsoft',
    'GroupQueryAttention',
    [perToken(q), perToken(k), perToken(v), cache.keys, cache.values, last, total, cos, sin],
    {
      num_heads: heads,
      kv_num_heads: kvHeads,
      do_rotary: 1,
      ...(window !== undefined && { local_window_size: window }),
    },
    [{ dtype, shape: [batch, tokens, heads * headDim] }, cached, cached],
  );
  return {
    features: flattened(result(context, 0), [batch * tokens, heads * headDim]),
    cache: { keys: result(context, 1), values: result(context, 2) },
  };
}

interface ServedHeads {
  readonly heads: number;
  readonly kvHeads: number;
  readonly headDim: number;
  readonly window?: number | undefined;
}

/** cos and sin of every pair's angle at each position: (positions, headDim / 2). */
export function rotationTables(
  headDim: number,
  positions: number,
  { ropeTheta, ropeScaling }: StreamConfig,
): { readonly cos: Tensor<'float32'>; readonly sin: Tensor<'float32'> } {
  const frequencies = ropeFrequencies(headDim, ropeTheta, ropeScaling);
  const half = frequencies.length;
  const table = (of: (angle: number) => number): Tensor<'float32'> =>
    float32(
      Float32Array.from({ length: positions * half }, (_, i) =>
        of(Math.floor(i / half) * frequencies[i % half]!),
      ),
      [positions, half],
    );
  return { cos: table(Math.cos), sin: table(Math.sin) };
}

/** `reshape` to a shape whose lengths are known when the graph runs: an int64 vector, -1 for the one that follows. */
export const reshapeTo = (x: Value, extents: Value, shape: Shape): Value =>
  fused('', 'Reshape', [x, extents], {}, [{ dtype: x.dtype, shape }]);

/** (rows, width) -> (...lead, width) */
export function withRows(x: Value, rows: Value, lead: Shape): Value {
  return reshapeTo(x, concat([rows, whole([-1])], 0), [...lead, elementCount(x.shape) / elementCount(lead)]);
}

/** (..., width) -> (rows, width) */
export const flattened = (x: Value, [rows, width]: readonly [number, number]): Value =>
  reshapeTo(x, whole([-1, width]), [rows, width]);

/** Whole numbers as an int64 vector. */
export const whole = (values: readonly number[]): Value =>
  constant({ dtype: 'int64', shape: [values.length], data: BigInt64Array.from(values, BigInt) });
