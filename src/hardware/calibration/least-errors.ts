/** Levenberg-Marquardt, robust to outliers. */
import { choleskySolve } from './cholesky.ts';

const iterations = 60;
/** A step that gains less than this share of the error ends the fit. */
const leastGain = 1e-5;
/** Errors beyond this count by their size, not their square. */
const robustFrom = 0.03;
/** For differences in place of derivatives. */
const h = 1e-4;

/**
 * The point from which no step lowers the sum of absolute errors any more; deterministic.
 * @param errors as many at every point; smooth in it
 */
export function leastErrors(
  errors: (x: readonly number[]) => Float64Array,
  start: readonly number[],
): readonly number[] {
  let x = start;
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
  return x;
}

function size(errors: Float64Array): number {
  let total = 0;
  for (const e of errors) total += Math.abs(e);
  return total;
}

/** (J^T W J + damping diag) step = -J^T W r, with W = 1 / max(|r|, robustFrom). */
function newtonStep(
  x: readonly number[],
  r: Float64Array,
  errors: (x: readonly number[]) => Float64Array,
  damping: number,
): Float64Array {
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
