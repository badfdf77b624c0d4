/**
 * KV heads merged in closed form. Mean pooling (the paper's way) lets keys of different heads cancel each other; here
 * each merged head carries the directions in which its teachers' heads vary most, and the queries are turned to match.
 */
import type { TeacherBlock, Weights } from '../blocks/index.ts';
import type { BlockConfig } from '../model/index.ts';
import { float32, type Tensor } from '../tensor/tensor.ts';
import { toMatrix, toTensor } from './closed-form.ts';
import { damped } from './least-squares.ts';
import {
  addProduct,
  block,
  leadingSubspace,
  matrix,
  solveUpper,
  transpose,
  type Matrix,
} from '../algebra/index.ts';
import type { InputMoments } from './statistics.ts';

/** Whether a block is the teacher's attention with KV heads merged, in a way that the closed form covers. */
export const isMerged = (config: BlockConfig, own: BlockConfig): boolean =>
  config.kind === 'gqa' &&
  own.kind === 'gqa' &&
  config['heads'] === own['heads'] &&
  config['kvHeads'] !== own['kvHeads'] &&
  // Norms on the heads stand between the projections and what they are compared by.
  own['qkNorm'] === undefined;

/** Second moments of a teacher's projections over the calibration text, biases included. */
export interface ProjectionMoments {
  /** sum k k^T (kvHeads * headDim, same) */
  readonly keys: Matrix;
  /** sum v v^T (kvHeads * headDim, same) */
  readonly values: Matrix;
  /** sum q^2 (heads * headDim) */
  readonly queryEnergy: Float64Array;
}

/**
 * From the moments of what the projections read: no token passes through them. With a one below every input x, the bias
 * is one more column of W, and sum (W x) (W x)^T = W (sum x x^T) W^T.
 */
export function projectionMoments(
  { weights }: Pick<TeacherBlock, 'weights'>,
  { gram, sum, tokens }: InputMoments,
): ProjectionMoments {
  const n = gram.rows + 1;
  const inputs = matrix(n, n);
  for (let i = 0; i < n - 1; i++) {
    inputs.data.set(gram.data.subarray(i * (n - 1), (i + 1) * (n - 1)), i * n);
    inputs.data[i * n + n - 1] = inputs.data[(n - 1) * n + i] = sum[i]!;
  }
  inputs.data[n * n - 1] = tokens;
  const projected = (name: 'q' | 'k' | 'v'): { readonly w: Matrix; readonly moved: Matrix } => {
    const w = withBias(weights[name]!, weights[`${name}Bias`]);
    const moved = matrix(w.rows, n); // W G
    addProduct(moved, w, inputs);
    return { w, moved };
  };
  const second = (name: 'k' | 'v'): Matrix => {
    const { w, moved } = projected(name);
    const result = matrix(w.rows, w.rows);
    addProduct(result, moved, w);
    return result;
  };
  const { w, moved } = projected('q');
  const queryEnergy = Float64Array.from({ length: w.rows }, (_, row) => {
    let energy = 0;
    for (let i = row * n; i < (row + 1) * n; i++) energy += moved.data[i]! * w.data[i]!;
    return energy;
  });
  return { keys: second('k'), values: second('v'), queryEnergy };
}

/** (rows, inputs + 1): the bias, or zeros, as the last column. */
function withBias(weight: Tensor<'float32'>, bias: Tensor<'float32'> | undefined): Matrix {
  const [rows, inputs] = weight.shape as [number, number];
  const joined = matrix(rows, inputs + 1);
  for (let row = 0; row < rows; row++) {
    joined.data.set(weight.data.subarray(row * inputs, (row + 1) * inputs), row * (inputs + 1));
    joined.data[(row + 1) * (inputs + 1) - 1] = bias?.data[row] ?? 0;
  }
  return joined;
}

/**
 * The teacher's attention with its KV heads merged in runs of equal length; W_O is the teacher's and wants a refit,
 * since each value head is a new basis.
 */
export function mergedHeads(
  config: BlockConfig,
  { config: own, weights }: TeacherBlock,
  moments: ProjectionMoments,
): Weights<Tensor<'float32'>> {
  const shape: Heads = {
    heads: Number(own['heads']),
    kvHeads: Number(own['kvHeads']),
    merged: Number(own['kvHeads']) / Number(config['kvHeads']),
    headDim: Number(own['headDim']),
  };
  const turns = keyTurns(shape, moments);
  const mixes = valueMixes(shape, toMatrix(weights['o']!), moments.values);
  const result: Record<string, Tensor<'float32'>> = {
    norm: weights['norm']!,
    o: weights['o']!,
    q: turnQueries(weights['q']!, shape, turns),
    k: mergeKeys(weights['k']!, shape, turns),
    v: mergeValues(weights['v']!, shape, mixes),
  };
  if (weights['qBias']) {
    result['qBias'] = turnQueries(weights['qBias'], shape, turns);
    result['kBias'] = mergeKeys(weights['kBias']!, shape, turns);
    result['vBias'] = mergeValues(weights['vBias']!, shape, mixes);
  }
  return result;
}

interface Heads {
  readonly heads: number;
  readonly kvHeads: number;
  /** Teacher's KV heads per student's. */
  readonly merged: number;
  readonly headDim: number;
}

/** A complex number per teacher's KV head and RoPE pair. */
interface Turns {
  /** k' = sum over merged heads of key * k. (kvHeads, headDim / 2) */
  readonly key: Complex;
  /** q' = query * q, for the queries of that head. */
  readonly query: Complex;
}

interface Complex {
  readonly re: Float64Array;
  readonly im: Float64Array;
}

/**
 * RoPE multiplies the complex number that a pair (j, j + headDim / 2) is by e^(i angle), and a score is
 * Re(q conj(k)) summed over pairs: a complex factor on a key passes through RoPE and can be undone at the query. So for
 * each pair the merged heads' keys k_g, weighted by the root w_g of their queries' energy, are replaced by their
 * first principal component: with u the leading eigenvector of E conj(w_a k_a) w_b k_b,
 *     k' = sum_g u_g w_g k_g,   k_g ~ k' conj(u_g) / w_g,   so q' = q u_g / w_g.
 */
function keyTurns(
  { heads, kvHeads, merged, headDim }: Heads,
  { keys, queryEnergy }: ProjectionMoments,
): Turns {
  const half = headDim / 2;
  const group = heads / kvHeads;
  const zeros = (): Complex => ({
    re: new Float64Array(kvHeads * half),
    im: new Float64Array(kvHeads * half),
  });
  const turns = { key: zeros(), query: zeros() };
  for (let first = 0; first < kvHeads; first += merged) {
    for (let pair = 0; pair < half; pair++) {
      const weight = Array.from({ length: merged }, (_, g) => {
        let energy = 0;
        for (let h = 0; h < group; h++) {
          const at = ((first + g) * group + h) * headDim + pair;
          energy += queryEnergy[at]! + queryEnergy[at + half]!;
        }
        return Math.sqrt(energy);
      });
      // A head whose queries are silent must not divide by zero; its keys hardly count either way.
      const least = 1e-4 * Math.max(...weight) || 1;
      const w = weight.map((value) => Math.max(value, least));
      const u = leadingComponent(keys, w, first, pair, headDim);
      for (let g = 0; g < merged; g++) {
        const at = (first + g) * half + pair;
        const [re, im] = [u[g]!, u[merged + g]!];
        turns.key.re[at] = re * w[g]!;
        turns.key.im[at] = im * w[g]!;
        turns.query.re[at] = re / w[g]!;
        turns.query.im[at] = im / w[g]!;
      }
    }
  }
  return turns;
}

/** Real parts, then imaginary parts, of the leading eigenvector of the weighted keys' Hermitian moments. */
function leadingComponent(
  keys: Matrix,
  w: readonly number[],
  first: number,
  pair: number,
  headDim: number,
): Float64Array {
  const m = w.length;
  const half = headDim / 2;
  // The Hermitian A + iB as the real symmetric [[A, -B], [B, A]] on (Re u, Im u).
  const real = matrix(2 * m, 2 * m);
  for (let a = 0; a < m; a++)
    for (let b = 0; b < m; b++) {
      const [i, j] = [(first + a) * headDim + pair, (first + b) * headDim + pair];
      const at = (row: number, column: number): number => keys.data[row * keys.columns + column]!;
      const scale = w[a]! * w[b]!;
      const re = scale * (at(i, j) + at(i + half, j + half));
      const im = scale * (at(i, j + half) - at(i + half, j));
      real.data[a * 2 * m + b] = real.data[(m + a) * 2 * m + m + b] = re;
      real.data[a * 2 * m + m + b] = -im;
      real.data[(m + a) * 2 * m + b] = im;
    }
  return leadingSubspace(real, 1).data;
}

/**
 * Which mixture of the merged heads' values (merged * headDim) each value channel of a student's head is: the
 * headDim-dimensional part of the values v that matters most to the output, heads taken apart:
 * with E v v^T = L L^T and S the block diagonal of sum_h W_O,h^T W_O,h, the leading eigenvectors U of L^T S L,
 * v' = U^T L^-1 v.
 */
function valueMixes(
  { heads, kvHeads, merged, headDim }: Heads,
  o: Matrix,
  values: Matrix,
): readonly Matrix[] {
  const group = heads / kvHeads;
  const size = merged * headDim;
  const mixes: Matrix[] = [];
  for (let first = 0; first < kvHeads; first += merged) {
    const l = damped(block(values, first * headDim, first * headDim, size, size)).factor;
    const lTransposed = transpose(l);
    // (L^T W_O,h^T) summed over the heads of each group, as one product over all their outputs.
    const a = matrix(size, size);
    for (let g = 0; g < merged; g++) {
      const rows = block(lTransposed, 0, g * headDim, size, headDim); // L^T, columns of this head
      for (let h = 0; h < group; h++) {
        const wo = block(o, 0, ((first + g) * group + h) * headDim, o.rows, headDim); // (hidden, headDim)
        const moved = matrix(size, o.rows);
        addProduct(moved, rows, wo); // L^T W_O,h^T
        addProduct(a, moved, moved);
      }
    }
    mixes.push(solveUpper(lTransposed, leadingSubspace(a, headDim))); // X L = U^T
  }
  return mixes;
}

/** Rows (heads * headDim, ...) turned pair by pair with their KV head's factor. */
function turnQueries(
  q: Tensor<'float32'>,
  { heads, kvHeads, headDim }: Heads,
  { query }: Turns,
): Tensor<'float32'> {
  const width = q.data.length / q.shape[0]!;
  const half = headDim / 2;
  const out = new Float32Array(q.data.length);
  for (let head = 0; head < heads; head++)
    for (let pair = 0; pair < half; pair++) {
      const at = Math.floor(head / (heads / kvHeads)) * half + pair;
      addTurned(
        out,
        head * headDim + pair,
        q.data,
        head * headDim + pair,
        width,
        half,
        query.re[at]!,
        query.im[at]!,
      );
    }
  return float32(out, q.shape);
}

/** (kvHeads * headDim, ...) -> (kvHeads / merged * headDim, ...) */
function mergeKeys(
  k: Tensor<'float32'>,
  { kvHeads, merged, headDim }: Heads,
  { key }: Turns,
): Tensor<'float32'> {
  const width = k.data.length / k.shape[0]!;
  const half = headDim / 2;
  const rows = (kvHeads / merged) * headDim;
  const out = new Float32Array(rows * width);
  for (let head = 0; head < kvHeads; head++)
    for (let pair = 0; pair < half; pair++) {
      const at = head * half + pair;
      const to = Math.floor(head / merged) * headDim + pair;
      addTurned(out, to, k.data, head * headDim + pair, width, half, key.re[at]!, key.im[at]!);
    }
  return float32(out, [rows, ...k.shape.slice(1)]);
}

/** Adds the complex row (row, row + half) of `from`, times re + i im, to the complex row `target` of `out`. */
function addTurned(
  out: Float32Array,
  target: number,
  from: Float32Array,
  row: number,
  width: number,
  half: number,
  re: number,
  im: number,
): void {
  for (let i = 0; i < width; i++) {
    const [x, y] = [from[row * width + i]!, from[(row + half) * width + i]!];
    out[target * width + i]! += re * x - im * y;
    out[(target + half) * width + i]! += re * y + im * x;
  }
}

/** Each student's value head as its mixture of the teacher's. */
function mergeValues(
  v: Tensor<'float32'>,
  { merged, headDim }: Heads,
  mixes: readonly Matrix[],
): Tensor<'float32'> {
  const width = v.data.length / v.shape[0]!;
  const size = merged * headDim;
  const out = new Float32Array(mixes.length * headDim * width);
  mixes.forEach((mix, head) => {
    const rows = matrix(
      size,
      width,
      Float64Array.from(v.data.subarray(head * size * width, (head + 1) * size * width)),
    );
    const mixed = matrix(headDim, width);
    addProduct(mixed, mix, transpose(rows)); // (headDim, size) x (size, width)
    out.set(toTensor(mixed).data, head * headDim * width);
  });
  return float32(out, [mixes.length * headDim, ...v.shape.slice(1)]);
}
