/** Causal attention over grouped KV heads, from primitives that have gradients. */
import { add, concat, constant, matmul, mul, reshape, slice, softmax, transpose } from '../graph/index.ts';
import type { Value } from '../graph/index.ts';
import { float32 } from '../tensor/tensor.ts';

/**
 * Queries are cut into runs of this many tokens, each multiplied only with the keys it may see: half of the full
 * square's work on long windows. Measured on 2 cores, 6 x 512 tokens, 9 heads: docs/decisions/0003.
 */
const queryRun = 128;

/** Far below any score, and finite: added to a score it leaves no trace of it, and softmax makes it 0. */
const masked = -1e30;

/**
 * softmax(q k^T / sqrt(d)) v, each token seeing itself and those before it, at most `window` of them.
 * q (batch, tokens, heads, d), k and v (batch, tokens, kvHeads, d) -> (batch, tokens, heads, d).
 */
export function causalAttention(q: Value, k: Value, v: Value, window?: number): Value {
  const [batch, tokens, heads, d] = q.shape as [number, number, number, number];
  const kvHeads = k.shape[2]!;
  const group = heads / kvHeads;
  const scaled = mul(transpose(q, [0, 2, 1, 3]), 1 / Math.sqrt(d)); // (batch, heads, tokens, d)
  const grouped = reshape(scaled, [batch, kvHeads, group, tokens, d]);
  const keys = transpose(k, [0, 2, 3, 1]); // (batch, kvHeads, d, tokens)
  const values = transpose(v, [0, 2, 1, 3]); // (batch, kvHeads, tokens, d)

  const runs: Value[] = [];
  for (let start = 0; start < tokens; start += queryRun) {
    const end = Math.min(tokens, start + queryRun);
    const first = window === undefined ? 0 : Math.max(0, start - window + 1);
    const [rows, columns] = [end - start, end - first];
    // (batch, kvHeads, group * rows, d) x (batch, kvHeads, d, columns)
    const scores = matmul(
      reshape(part(grouped, 3, start, end), [batch, kvHeads, group * rows, d]),
      part(keys, 3, first, end),
    );
    const seen = mask(reshape(scores, [batch, kvHeads, group, rows, columns]), start - first, window);
    const weights = reshape(softmax(seen), [batch, kvHeads, group * rows, columns]);
    // x (batch, kvHeads, columns, d) -> (batch, kvHeads, group * rows, d)
    const context = matmul(weights, part(values, 2, first, end));
    runs.push(reshape(context, [batch, heads, rows, d]));
  }
  return transpose(runs.length === 1 ? runs[0]! : concat(runs, 2), [0, 2, 1, 3]);
}

const part = (x: Value, axis: number, start: number, end: number): Value =>
  start === 0 && end === x.shape[axis] ? x : slice(x, axis, start, end);

/** Hides scores (..., rows, columns) of keys after the query, or before its window; row r is column r + offset. */
function mask(scores: Value, offset: number, window = Infinity): Value {
  const [rows, columns] = scores.shape.slice(-2) as [number, number];
  const hidden = Float32Array.from({ length: rows * columns }, (_, i) => {
    const behind = Math.floor(i / columns) + offset - (i % columns); // tokens from the key to its query
    return behind >= 0 && behind < window ? 0 : masked;
  });
  return add(scores, constant(float32(hidden, [rows, columns])));
}
