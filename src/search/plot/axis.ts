/** An axis: maps values to 0..1 and chooses round ticks; linear, or logarithmic for scores that span decades. */
import { formatNumber, unitFor, type Quantity } from '../../util/units.ts';

export interface Axis {
  /** Position of a value on the axis, 0 to 1. */
  readonly position: (value: number) => number;
  readonly ticks: readonly { readonly value: number; readonly label: string }[];
  /** `memory (GiB)` */
  readonly title: string;
}

export interface AxisSpec {
  readonly name: string;
  readonly quantity: Quantity;
}

/** More than two decades read better on a logarithmic scale. */
const logarithmicFrom = 100;
/** Share of a logarithmic axis that is kept for the value 0, which has no logarithm. */
const zeroBand = 0.06;

/** Relative spread below which values are one. */
const pointSpread = 1e-12;

/** @param values what is to be shown: finite, at least one. */
export function axis({ name, quantity }: AxisSpec, values: readonly number[], mostTicks = 6): Axis {
  const low = values.reduce((a, b) => Math.min(a, b), Infinity);
  const high = values.reduce((a, b) => Math.max(a, b), -Infinity);
  const positive = values.filter((value) => value > 0).reduce((a, b) => Math.min(a, b), Infinity);
  if (quantity === 'score' && low >= 0 && high / positive >= logarithmicFrom) {
    return logarithmic(name, positive, high, low === 0, mostTicks);
  }
  const largest = Math.max(Math.abs(low), Math.abs(high));
  const { scale, suffix } = unitFor(largest, quantity);
  // A single value, or values that differ by rounding only, stand in the middle.
  const margin = high - low > pointSpread * largest ? 0 : largest > pointSpread ? largest / 2 : 1;
  const step = roundStep((high - low + 2 * margin) / scale / (mostTicks - 1));
  const first = Math.floor((low - margin) / scale / step + 1e-9) * step;
  const last = Math.ceil((high + margin) / scale / step - 1e-9) * step;
  const count = Math.round((last - first) / step) + 1;
  return {
    position: (value) => (value / scale - first) / (last - first),
    ticks: Array.from({ length: count }, (_, i) => {
      const value = first + i * step;
      return { value: value * scale, label: formatNumber(Math.abs(value) < step / 2 ? 0 : value) };
    }),
    title: titled(name, suffix),
  };
}

function logarithmic(name: string, low: number, high: number, withZero: boolean, mostTicks: number): Axis {
  const from = Math.floor(Math.log10(low) + 1e-9);
  const to = Math.ceil(Math.log10(high) - 1e-9);
  const band = withZero ? zeroBand : 0;
  const every = Math.ceil((to - from + 1) / mostTicks);
  const decades = Array.from(
    { length: Math.floor((to - from) / every) + 1 },
    (_, i) => 10 ** (from + i * every),
  );
  return {
    position: (value) => (value <= 0 ? 0 : band + ((1 - band) * (Math.log10(value) - from)) / (to - from)),
    ticks: [
      ...(withZero ? [{ value: 0, label: '0' }] : []),
      ...decades.map((value) => ({ value, label: formatNumber(value) })),
    ],
    title: `${name} (log)`,
  };
}

const titled = (name: string, suffix: string): string =>
  suffix.trim() === '' ? name : `${name} (${suffix.trim()})`;

/** The next of 1, 2, 2.5, 5 times a power of ten. */
function roundStep(step: number): number {
  const power = 10 ** Math.floor(Math.log10(step));
  return power * ([1, 2, 2.5, 5].find((digit) => digit * power >= step * (1 - 1e-9)) ?? 10);
}
