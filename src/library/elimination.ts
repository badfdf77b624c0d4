/**
 * Nested elimination: backward elimination of the inputs of a linear map on their Gram matrix (optimal brain surgeon,
 * structured: Hassibi & Stork 1993; ZipLM, arXiv 2302.04089). One order serves every width.
 */
import { addProduct, block, copy, matrix, select, stack, transpose, type Matrix } from '../algebra/index.ts';

/** Channels dropped between two updates of the whole matrices; the scores are exact at every step all the same. */
const blockSize = 48;

/** What is left of a linear map's inputs at one width. */
export interface Kept {
  /** Ascending. */
  readonly channels: readonly number[];
  /** (m, channels): the map refitted on them. */
  readonly map: Matrix;
}

export interface Elimination {
  /** All n channels, the most valuable first: the first w of them are those to keep at width w. */
  readonly order: Int32Array;
  /** Per width asked for. */
  readonly kept: ReadonlyMap<number, Kept>;
}

/**
 * Drops, one after the other, the channel whose loss raises min_W tr((W - W0) A (W - W0)^T) least: the c with the
 * smallest ||W_:c||^2 / [A^-1]_cc, where W and A^-1 are those of the channels still there. W is the minimum all the
 * way, so the refitted map of a width costs nothing but a copy.
 *
 * A step is a rank-one downdate of A^-1 (a pivoted Cholesky step) and of W. As in a blocked factorisation, the
 * downdates of a block of steps are kept as two thin panels and applied to the large matrices together; in between
 * only the row at the pivot and the diagonals are brought up to date.
 *
 * Where outputs count in a metric, L^T W decides. It is carried along beside W: each loses a panel a block, where
 * turning the map of every width back would cost as much as all steps together.
 *
 * @param inverseA (n, n) inverse of the damped Gram matrix
 * @param w0 (m, n) the map whose outputs are to be kept
 * @param widths at which the map is asked for, each at least 1 and below n
 * @param judged (any, n) L^T W0, where it is not the outputs as they are that count
 */
export function eliminate(
  inverseA: Matrix,
  w0: Matrix,
  widths: readonly number[] = [],
  judged?: Matrix,
): Elimination {
  const n = inverseA.rows;
  const order = new Int32Array(n);
  const kept = new Map<number, Kept>();
  let alive = range(n);
  let m = copy(inverseA); // (alive, alive), the lower triangle
  // (alive, outputs): a channel's column of W is contiguous, what decides first.
  let w = transpose(judged ? stack(judged, w0) : w0);
  const deciding = judged?.rows ?? w0.rows;
  while (alive.length > 0) {
    const next = Math.max(0, ...widths.filter((width) => width < alive.length));
    const steps = Math.min(blockSize, alive.length - next);
    const { pivots, p, u } = eliminateBlock(m, w, deciding, steps);
    pivots.forEach((pivot, k) => (order[alive.length - 1 - k] = alive[pivot]!));
    const gone = new Set(pivots);
    const rest = alive.flatMap((_, index) => (gone.has(index) ? [] : [index]));
    const panel = select(p, rest, range(steps)); // (rest, steps)
    m = select(m, rest, rest);
    addProduct(m, panel, panel, -1, 'lower');
    w = select(w, rest, range(w.columns));
    addProduct(w, panel, transpose(u), -1);
    alive = rest.map((index) => alive[index]!);
    if (alive.length === next && next > 0) {
      const own = block(w, 0, w.columns - w0.rows, w.rows, w0.rows);
      kept.set(next, { channels: alive, map: transpose(own) });
    }
  }
  return { order, kept };
}

interface EliminatedBlock {
  /** Rows of the block's matrices, in the order they went. */
  readonly pivots: readonly number[];
  /** (alive, steps): columns of A^-1 at the pivots over the root of the pivot. A^-1 loses P P^T. */
  readonly p: Matrix;
  /** (steps, outputs): columns of W at the pivots over the root of the pivot. W^T loses P U. */
  readonly u: Matrix;
}

/**
 * `steps` exact eliminations that read, but don't update, A^-1 (alive, alive; lower) and W^T (alive, outputs).
 * @param deciding outputs, the first ones, whose loss counts
 */
function eliminateBlock(m: Matrix, w: Matrix, deciding: number, steps: number): EliminatedBlock {
  const n = m.rows;
  const outputs = w.columns;
  const p = matrix(n, steps);
  const u = matrix(steps, outputs);
  const diagonal = Float64Array.from({ length: n }, (_, c) => m.data[c * n + c]!);
  const norms = Float64Array.from({ length: n }, (_, c) =>
    dot(w.data, c * outputs, w.data, c * outputs, deciding),
  );
  const alive = new Uint8Array(n).fill(1);
  const inner = new Float64Array(n); // W_c . u_k
  const pivots: number[] = [];
  for (let k = 0; k < steps; k++) {
    const pivot = cheapest(norms, diagonal, alive);
    pivots.push(pivot);
    alive[pivot] = 0;
    const root = Math.sqrt(diagonal[pivot]!);
    // u_k: the pivot's column of W, brought up to date.
    const row = block(u, k, 0, 1, outputs);
    row.data.set(w.data.subarray(pivot * outputs, (pivot + 1) * outputs), k * outputs);
    for (let j = 0; j < k; j++) {
      const factor = p.data[pivot * steps + j]!;
      for (let i = 0; i < outputs; i++) row.data[k * outputs + i]! -= factor * u.data[j * outputs + i]!;
    }
    for (let i = 0; i < outputs; i++) row.data[k * outputs + i]! /= root;
    const uk = u.data.subarray(k * outputs, (k + 1) * outputs);
    const earlier = Float64Array.from({ length: k }, (_, j) => dot(u.data, j * outputs, uk, 0, deciding));
    const square = dot(uk, 0, uk, 0, deciding);
    innerProducts(inner, w, uk, deciding);
    for (let c = 0; c < n; c++) {
      if (alive[c] === 0) continue;
      const at = c * steps;
      const stored = c < pivot ? pivot * n + c : c * n + pivot; // the lower triangle
      const entry = (m.data[stored]! - dot(p.data, at, p.data, pivot * steps, k)) / root;
      p.data[at + k] = entry;
      diagonal[c]! -= entry * entry;
      norms[c]! += entry * (entry * square - 2 * (inner[c]! - dot(p.data, at, earlier, 0, k)));
    }
  }
  return { pivots, p, u };
}

/** argmin of norms / diagonal over the living, the first of equals. */
function cheapest(norms: Float64Array, diagonal: Float64Array, alive: Uint8Array): number {
  let best = -1;
  let least = Infinity;
  for (let c = 0; c < norms.length; c++) {
    if (alive[c] === 0) continue;
    const cost = norms[c]! / diagonal[c]!;
    if (cost < least || best < 0) {
      least = cost;
      best = c;
    }
  }
  return best;
}

/** result[c] = w[c, :length] . u[:length] for all rows, four at a time to keep the adders busy. */
function innerProducts(
  result: Float64Array,
  { data: w, rows, stride }: Matrix,
  u: Float64Array,
  length: number,
): void {
  let c = 0;
  for (; c + 3 < rows; c += 4) {
    const r0 = c * stride;
    const r1 = r0 + stride;
    const r2 = r1 + stride;
    const r3 = r2 + stride;
    let s0 = 0,
      s1 = 0,
      s2 = 0,
      s3 = 0;
    for (let i = 0; i < length; i++) {
      const x = u[i]!;
      s0 += w[r0 + i]! * x;
      s1 += w[r1 + i]! * x;
      s2 += w[r2 + i]! * x;
      s3 += w[r3 + i]! * x;
    }
    result[c] = s0;
    result[c + 1] = s1;
    result[c + 2] = s2;
    result[c + 3] = s3;
  }
  for (; c < rows; c++) result[c] = dot(w, c * stride, u, 0, length);
}

function dot(a: Float64Array, i: number, b: Float64Array, j: number, length: number): number {
  let sum = 0;
  for (let k = 0; k < length; k++) sum += a[i + k]! * b[j + k]!;
  return sum;
}

const range = (length: number): number[] => Array.from({ length }, (_, i) => i);
