/** A number that says where it comes from and how wrong it may be. */

/** From surest to least sure: timed itself, between timed points, by a fitted formula, beyond what was timed. */
export const sources = ['measured', 'interpolated', 'fitted', 'extrapolated'] as const;

export type Source = (typeof sources)[number];

/** A value with the interval that holds the truth nine times of ten. */
export interface Quantity {
  readonly value: number;
  readonly source: Source;
  /** 90 % interval, in the unit of the value. */
  readonly errorBand: { readonly low: number; readonly high: number };
}

export const zero: Quantity = { value: 0, source: 'measured', errorBand: { low: 0, high: 0 } };

/** A value known to a factor: the truth lies in [value * low, value * high]. */
export function quantity(
  value: number,
  source: Source,
  band: { readonly low: number; readonly high: number },
): Quantity {
  return { value, source, errorBand: { low: value * band.low, high: value * band.high } };
}

/** The same thing `factor` times over: its error repeats, so the band scales with it. */
export function scale(part: Quantity, factor: number): Quantity {
  return {
    value: part.value * factor,
    source: part.source,
    errorBand: { low: part.errorBand.low * factor, high: part.errorBand.high * factor },
  };
}

/** The sum of things that err alike: values and bands add, and it is as sure as its least sure part. */
export function sumOfOneKind(parts: readonly Quantity[]): Quantity {
  return {
    ...sum(parts),
    errorBand: {
      low: parts.reduce((low, { errorBand }) => low + errorBand.low, 0),
      high: parts.reduce((high, { errorBand }) => high + errorBand.high, 0),
    },
  };
}

/**
 * The sum of different things. Their errors are taken as independent (different kernels, different fits), so half
 * widths add in quadrature; what repeats must be gathered with `scale` first. The sum is as sure as its least sure part.
 */
export function sum(parts: readonly Quantity[]): Quantity {
  let value = 0;
  let below = 0;
  let above = 0;
  let worst = 0;
  for (const part of parts) {
    if (part.value === 0) continue;
    value += part.value;
    below += (part.value - part.errorBand.low) ** 2;
    above += (part.errorBand.high - part.value) ** 2;
    worst = Math.max(worst, sources.indexOf(part.source));
  }
  return {
    value,
    source: sources[worst]!,
    errorBand: { low: Math.max(0, value - Math.sqrt(below)), high: value + Math.sqrt(above) },
  };
}
