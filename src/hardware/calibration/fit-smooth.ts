/** Fits the smooth model to measured times: Levenberg-Marquardt on the logarithm of the time, robust to outliers. */
import { choleskySolve } from './cholesky.ts';
import { smoothTimeMs } from '../smooth.ts';
import type { Peaks, Smooth } from '../smooth.ts';
import type { Sample } from './sample.ts';

/** A fit of eight numbers does not get better with more rows than this. */
const maxRows = 4000;
const iterations = 60;
/** A step that gains less than this share of the error ends the fit. */
const leastGain = 1e-5;

/** Errors beyond this (in the logarithm) count by their size, not their square. */
const robustFrom = 0.03;

const start: Smooth = {
  computeEfficiency: 0.7,
  bandwidthEfficiency: 0.8,
  halfRamps: [],
  sharpness: 2,
  overheadMs: 0.003,
};

/** All parameters are positive, so the fit walks in their logarithms. */
const toVector = (s: Smooth): number[] =>
  [s.computeEfficiency, s.bandwidthEfficiency, s.sharpness, s.overheadMs, ...s.halfRamps].map(Math.log);

const fromVector = (x: readonly number[]): Smooth => {
  const [computeEfficiency, bandwidthEfficiency, sharpness, overheadMs, ...halfRamps] = x.map(Math.exp);
  return {
    computeEfficiency: computeEfficiency!,
    bandwidthEfficiency: bandwidthEfficiency!,
    // Beyond 8 the p-norm is a maximum; below 1 it would add more than the sum.
    sharpness: Math.min(8, Math.max(1, sharpness!)),
    overheadMs: overheadMs!,
    halfRamps,
  };
};

/** The smooth model that fits best; deterministic. */
export function fitSmooth(samples: readonly Sample[], peaks: Peaks): Smooth {
  const stride = Math.ceil(samples.length / maxRows);
  const rows = samples.filter((_, i) => i % stride === 0);
  const ramps = rows[0]!.work.ramps.length;
  const errors = (x: readonly number[]): Float64Array => {
    const smooth = fromVector(x);
    const result = new Float64Array(rows.length);
    for (const [i, { work, ms }] of rows.entries())
      result[i] = Math.log(smoothTimeMs(smooth, work, peaks) / ms);
    return result;
  };
  const size = (r: Float64Array): number => {
    let total = 0;
    for (const e of r) total += Math.abs(e);
    return total;
  };

  let x = toVector({ ...start, halfRamps: Array.from({ length: ramps }, () => 32) });
  let r = errors(x);
  let damping = 1e-2;
  for (let iteration = 0; iteration < iterations && damping < 1e8; iteration++) {
    const step = newtonStep(x, r, errors, damping);
    const next = x.map((value, i) => value + Math.min(1, Math.max(-1, step[i]!)));
    const nextErrors = errors(next);
    const gain = 1 - size(nextErrors) / size(r);
    if (gain > 0) {
      x = next;
      r = nextErrors;
      if (gain < leastGain) break;
      damping /= 3;
    } else {
      damping *= 4;
    }
  }
  return roundedSmooth(fromVector(x));
}

/** (J^T W J + damping diag) step = -J^T W r, with W = 1 / max(|r|, robustFrom). */
function newtonStep(
  x: readonly number[],
  r: Float64Array,
  errors: (x: readonly number[]) => Float64Array,
  damping: number,
): Float64Array {
  const h = 1e-4;
  const columns = x.map((_, j) => {
    const column = errors(x.map((value, i) => (i === j ? value + h : value)));
    for (let i = 0; i < column.length; i++) column[i] = (column[i]! - r[i]!) / h;
    return column;
  });
  const weights = new Float64Array(r.length);
  let allWeights = 0;
  for (const [i, e] of r.entries()) allWeights += weights[i] = 1 / Math.max(Math.abs(e), robustFrom);
  const dot = (a: Float64Array, b: Float64Array): number => {
    let total = 0;
    for (let i = 0; i < a.length; i++) total += weights[i]! * a[i]! * b[i]!;
    return total;
  };
  const size = x.length;
  const matrix = new Float64Array(size * size); // lower triangle, which is all that Cholesky reads
  for (const [i, a] of columns.entries()) {
    for (let j = 0; j <= i; j++) matrix[i * size + j] = dot(a, columns[j]!);
    matrix[i * size + i]! += damping * (matrix[i * size + i]! + 1e-6 * allWeights);
  }
  const right = Float64Array.from(columns, (column) => -dot(column, r));
  choleskySolve(matrix, right);
  return right;
}

/** Four significant digits: more would claim what no data holds. A ramp below one never matters. */
function roundedSmooth(s: Smooth): Smooth {
  const round = (value: number): number => Number(value.toPrecision(4));
  return {
    computeEfficiency: round(s.computeEfficiency),
    bandwidthEfficiency: round(s.bandwidthEfficiency),
    halfRamps: s.halfRamps.map((half) => (half < 0.01 ? 0 : round(half))),
    sharpness: round(s.sharpness),
    overheadMs: round(s.overheadMs),
  };
}
