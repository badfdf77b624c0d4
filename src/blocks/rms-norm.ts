/** Root-mean-square norm (arXiv 1910.07467) over the last axis. */
import { add, cast, mul, reciprocal, reduceMean, sqrt, square } from '../graph/index.ts';
import type { Value } from '../graph/index.ts';

/** x / sqrt(mean(x^2) + epsilon) * weight: (..., width), (width) -> (..., width); in float32 whatever `x` is. */
export function rmsNorm(x: Value, weight: Value, epsilon: number): Value {
  const wide = cast(x, 'float32');
  const meanSquare = reduceMean(square(wide), { axes: [-1], keepDims: true }); // (..., 1)
  const normed = mul(mul(wide, reciprocal(sqrt(add(meanSquare, epsilon)))), cast(weight, 'float32'));
  return cast(normed, x.dtype);
}
