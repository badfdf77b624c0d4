/** Fits the smooth model to measured times, on the logarithm of the time. */
import { smoothTimeMs } from '../smooth.ts';
import type { Peaks, Smooth } from '../smooth.ts';
import { leastErrors } from './least-errors.ts';
import type { Sample } from './sample.ts';

/** A fit of eight numbers does not get better with more rows than this. */
const maxRows = 4000;

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
  const x = leastErrors(errors, toVector({ ...start, halfRamps: Array.from({ length: ramps }, () => 32) }));
  return roundedSmooth(fromVector(x));
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
