/** Root-mean-square norm (arXiv 1910.07467) over the last axis. */
import { add, mul, reciprocal, reduceMean, sqrt, square } from '../graph/index.ts';
import type { Value } from '../graph/index.ts';

/** x / sqrt(mean(x^2) + epsilon) * weight: (..., width), (width) -> (..., width). */
export function rmsNorm(x: Value, weight: Value, epsilon: number): Value {
  const meanSquare = reduceMean(square(x), { axes: [-1], keepDims: true }); // (..., 1)
  return mul(mul(x, reciprocal(sqrt(add(meanSquare, epsilon)))), weight);
}
