/** 95 % confidence intervals: of a mean by Student's t, of a share by Wilson's score. */

export interface Interval {
  readonly value: number;
  readonly low: number;
  readonly high: number;
}

/** 97.5 % quantile of the standard normal distribution. */
const z95 = 1.959963985;

/** Of the mean of independent samples; unbounded for a single one. */
export function meanInterval(samples: ArrayLike<number>): Interval {
  const values = Array.from(samples);
  const value = values.reduce((sum, sample) => sum + sample, 0) / values.length;
  const squares = values.reduce((sum, sample) => sum + (sample - value) ** 2, 0);
  const half =
    values.length > 1
      ? studentT95(values.length - 1) * Math.sqrt(squares / (values.length - 1) / values.length)
      : Infinity;
  return { value, low: value - half, high: value + half };
}

/**
 * Of the mean over samples that come in groups and are independent between groups only; groups count by their size.
 * The mean is a ratio of sums, its variance that of the groups' residuals (Cochran, Sampling Techniques, sec. 6.3).
 * A single group has nothing else to go by than its samples.
 */
export function groupedMeanInterval(groups: readonly ArrayLike<number>[]): Interval {
  if (groups.length < 2) return meanInterval(groups[0] ?? []);
  const sums = groups.map((group) => Array.from(group).reduce((sum, sample) => sum + sample, 0));
  const count = groups.reduce((sum, { length }) => sum + length, 0);
  const value = sums.reduce((sum, part) => sum + part, 0) / count;
  const squares = sums.reduce((sum, part, i) => sum + (part - value * groups[i]!.length) ** 2, 0);
  const variance = (groups.length / (groups.length - 1)) * (squares / count ** 2);
  const half = studentT95(groups.length - 1) * Math.sqrt(variance);
  return { value, low: value - half, high: value + half };
}

/** Of a share of `count` independent trials (Wilson, JASA 22, 1927). */
export function shareInterval(successes: number, count: number): Interval {
  const value = successes / count;
  const scale = 1 + z95 ** 2 / count;
  const centre = (value + z95 ** 2 / (2 * count)) / scale;
  const half = (z95 * Math.sqrt((value * (1 - value)) / count + z95 ** 2 / (4 * count ** 2))) / scale;
  return { value, low: Math.min(value, centre - half), high: Math.max(value, centre + half) };
}

/** 97.5 % quantile of Student's t: Abramowitz & Stegun 26.7.5 to the third term; exact for one and two degrees. */
export function studentT95(degrees: number): number {
  if (degrees === 1) return 12.7062;
  if (degrees === 2) return 4.30265;
  const z = z95;
  const g1 = (z ** 3 + z) / 4;
  const g2 = (5 * z ** 5 + 16 * z ** 3 + 3 * z) / 96;
  const g3 = (3 * z ** 7 + 19 * z ** 5 + 17 * z ** 3 - 15 * z) / 384;
  return z + g1 / degrees + g2 / degrees ** 2 + g3 / degrees ** 3;
}
