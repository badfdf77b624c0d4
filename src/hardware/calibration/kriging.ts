/**
 * Local kriging: the best linear guess at a point from its nearest measured neighbours, where two values resemble each
 * other by exp(-distance) and distance is L1 (a separable exponential kernel: rough, as kernel timings are).
 */
import { choleskySolve } from './cholesky.ts';

const neighbours = 28;

/** Share of a value's variance that is noise of measurement and never carries over. */
const nugget = 0.02;

/** The guess reverts to the mean of this many nearest values. */
const nearestForMean = 8;

export interface Known {
  /** Coordinates, one array per dimension, already divided by their length scales. */
  readonly features: readonly Float64Array[];
  readonly values: Float64Array;
}

/** The value guessed at `point` (scaled coordinates). */
export function krige({ features, values }: Known, point: readonly number[]): number {
  const distances = new Float64Array(values.length);
  for (const [d, column] of features.entries()) {
    const x = point[d]!;
    for (let i = 0; i < column.length; i++) distances[i]! += Math.abs(column[i]! - x);
  }
  const near = nearest(distances, Math.min(neighbours, values.length));
  const n = near.length;
  let mean = 0;
  const forMean = Math.min(nearestForMean, n);
  for (let i = 0; i < forMean; i++) mean += values[near[i]!]! / forMean;

  const matrix = new Float64Array(n * n);
  const weights = new Float64Array(n);
  for (let i = 0; i < n; i++) {
    weights[i] = values[near[i]!]! - mean;
    for (let j = 0; j < i; j++) {
      let distance = 0;
      for (const column of features) distance += Math.abs(column[near[i]!]! - column[near[j]!]!);
      matrix[i * n + j] = Math.exp(-distance);
    }
    matrix[i * n + i] = 1 + nugget;
  }
  choleskySolve(matrix, weights); // reads the lower triangle only
  let guess = mean;
  for (let i = 0; i < n; i++) guess += Math.exp(-distances[near[i]!]!) * weights[i]!;
  return guess;
}

/** Indices of the `count` smallest distances, ascending; ties by index. */
function nearest(distances: Float64Array, count: number): number[] {
  const found: number[] = [];
  for (let i = 0; i < distances.length; i++) {
    const distance = distances[i]!;
    if (found.length === count && distance >= distances[found[count - 1]!]!) continue;
    let at = found.length === count ? count - 1 : found.length;
    while (at > 0 && distances[found[at - 1]!]! > distance) {
      found[at] = found[at - 1]!;
      at--;
    }
    found[at] = i;
  }
  return found;
}
