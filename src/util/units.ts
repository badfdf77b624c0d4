/** Sizes, durations, rates and counts as people write them (`80GiB`, `1.5x`, `40%..100%:25`), read and shown. */
import { PuzzleError } from './errors.ts';

/** What is measured; each has one base unit: bytes, milliseconds, tokens per second, pieces, or none. */
export type Quantity = 'bytes' | 'duration' | 'rate' | 'count' | 'score';

/** A size in the quantity's base unit, or a multiple of the teacher's. */
export type Amount =
  | { readonly kind: 'absolute'; readonly value: number }
  | { readonly kind: 'relative'; readonly factor: number };

interface QuantityRule {
  /** Base units per written unit. The empty unit is there only where a bare number has one meaning. */
  readonly units: Readonly<Record<string, number>>;
  /** Names that differ in case only (`6M`, `6m`) mean the same. */
  readonly accepted: string;
  readonly relative: boolean;
  /** Above this a number is a slip of the pen: 1 EiB, 100 years, 10^15 of anything. */
  readonly most: number;
}

const kibi = 1024;
const rules: Readonly<Record<Quantity, QuantityRule>> = {
  bytes: {
    units: {
      b: 1,
      kb: 1e3,
      mb: 1e6,
      gb: 1e9,
      tb: 1e12,
      kib: kibi,
      mib: kibi ** 2,
      gib: kibi ** 3,
      tib: kibi ** 4,
    },
    accepted: '80GiB, 80000MiB, 85GB, 85%, 0.85x',
    relative: true,
    most: kibi ** 6,
  },
  duration: {
    units: { ns: 1e-6, us: 1e-3, µs: 1e-3, ms: 1, s: 1e3, min: 60e3, h: 3600e3 },
    accepted: '51.2s, 50ms, 800us, 85%, 1.5x',
    relative: true,
    most: 100 * 365 * 24 * 3600e3,
  },
  rate: {
    units: { 'tok/s': 1, 'ktok/s': 1e3, 'tokens/s': 1, 'mtok/s': 1e6 },
    accepted: '5000tok/s, 5ktok/s, 120%, 2x',
    relative: true,
    most: 1e15,
  },
  count: {
    units: { '': 1, k: 1e3, m: 1e6, b: 1e9, t: 1e12 },
    accepted: '6B, 135M, 4096, 80%, 0.8x',
    relative: true,
    most: 1e15,
  },
  score: { units: { '': 1 }, accepted: '0.1, 2.5e-3', relative: false, most: 1e15 },
};

/**
 * Reads one amount.
 *
 * @param flag the flag or field the text came from, named in the error.
 * @returns the value in bytes, milliseconds, tokens per second or pieces, or a factor of the teacher's.
 * @throws PuzzleError `bad-unit` on a unit of another kind, no unit, or an absurd size.
 */
export function parseAmount(text: string, quantity: Quantity, flag: string): Amount {
  const rule = rules[quantity];
  const fail = (why: string): never => {
    throw new PuzzleError('bad-unit', `${flag} ${text}: ${why}`, {
      at: flag,
      value: text,
      fix: `Write it like one of ${rule.accepted}.`,
      details: { quantity, accepted: rule.accepted.split(', ') },
    });
  };
  const match = /^([+-]?(?:\d+\.?\d*|\.\d+)(?:e[+-]?\d+)?)\s*([^\d\s.].*)?$/i.exec(text.trim());
  if (match === null) return fail('not a number with a unit');
  const number = Number(match[1]);
  const unit = (match[2] ?? '').trim().toLowerCase();
  if (unit === '%' || unit === 'x') {
    if (!rule.relative) return fail(`takes a plain number, not a share of the teacher's`);
    const factor = unit === '%' ? number / 100 : number;
    if (!(factor > 0 && factor <= 1e6)) return fail('a share must lie above 0 and up to 1000000x');
    return { kind: 'relative', factor };
  }
  const scale = rule.units[unit];
  if (scale === undefined) {
    return fail(
      unit === '' ? `a ${noun[quantity]} needs a unit` : `'${unit}' is no unit of a ${noun[quantity]}`,
    );
  }
  const value = number * scale;
  if (quantity !== 'score' && !(value > 0)) return fail('must be above zero');
  if (!(Math.abs(value) <= rule.most)) return fail('is absurdly large');
  return { kind: 'absolute', value };
}

const noun: Readonly<Record<Quantity, string>> = {
  bytes: 'size in bytes',
  duration: 'duration',
  rate: 'rate',
  count: 'count',
  score: 'score',
};

/** Points a range has when it doesn't say. */
const defaultRangePoints = 25;
/** More points than this is a slip of the pen. */
const maximumRangePoints = 100_000;

/**
 * Reads `FROM..TO:POINTS`: evenly spaced amounts with both ends (25 points when not said). A single amount is a
 * range of one.
 *
 * @throws PuzzleError `bad-unit` on an end that does not parse, ends of different kinds, or a bad number of points.
 */
export function parseRange(text: string, quantity: Quantity, flag: string): readonly Amount[] {
  const match = /^(.+?)\.\.([^:]+)(?::(.+))?$/.exec(text.trim());
  if (match === null) return [parseAmount(text, quantity, flag)];
  const from = parseAmount(match[1]!, quantity, flag);
  const to = parseAmount(match[2]!, quantity, flag);
  const points = match[3] === undefined ? defaultRangePoints : Number(match[3]);
  const fail = (why: string): never => {
    throw new PuzzleError('bad-unit', `${flag} ${text}: ${why}`, {
      at: flag,
      value: text,
      fix: 'Write a range like 40%..100%:25 (from, to, number of points).',
    });
  };
  if (!Number.isInteger(points) || points < 2 || points > maximumRangePoints) {
    return fail(`the number of points must be a whole number from 2 to ${maximumRangePoints}`);
  }
  const at = (i: number, a: number, b: number): number =>
    i === points - 1 ? b : a + ((b - a) * i) / (points - 1);
  const indices = Array.from({ length: points }, (_, i) => i);
  if (from.kind === 'absolute' && to.kind === 'absolute') {
    return indices.map((i) => ({ kind: 'absolute', value: at(i, from.value, to.value) }));
  }
  if (from.kind === 'relative' && to.kind === 'relative') {
    return indices.map((i) => ({ kind: 'relative', factor: at(i, from.factor, to.factor) }));
  }
  return fail('one end is a size and the other a share');
}

/** An amount in base units, given the teacher's. */
export function resolveAmount(amount: Amount, teacher: number): number {
  return amount.kind === 'absolute' ? amount.value : amount.factor * teacher;
}

const scales: Readonly<Record<Quantity, readonly (readonly [number, string])[]>> = {
  bytes: [
    [kibi ** 4, ' TiB'],
    [kibi ** 3, ' GiB'],
    [kibi ** 2, ' MiB'],
    [kibi, ' KiB'],
    [1, ' B'],
  ],
  duration: [
    [1e3, ' s'],
    [1, ' ms'],
    [1e-3, ' us'],
  ],
  rate: [
    [1e6, ' Mtok/s'],
    [1e3, ' ktok/s'],
    [1, ' tok/s'],
  ],
  count: [
    [1e12, 'T'],
    [1e9, 'B'],
    [1e6, 'M'],
    [1e3, 'K'],
    [1, ''],
  ],
  score: [[1, '']],
};

/** The largest written unit that does not exceed the value: `{ scale: 2^30, suffix: ' GiB' }`. */
export function unitFor(
  value: number,
  quantity: Quantity,
): { readonly scale: number; readonly suffix: string } {
  const table = scales[quantity];
  const [scale, suffix] = table.find(([scale]) => Math.abs(value) >= scale) ?? table.at(-1)!;
  return { scale, suffix };
}

/** A value in base units, shown with four significant digits: `78.13 GiB`, `51.2 s`, `5.12 ktok/s`, `134.5M`. */
export function formatAmount(value: number, quantity: Quantity): string {
  if (!Number.isFinite(value))
    return Number.isNaN(value) ? 'unknown' : value > 0 ? 'unlimited' : '-unlimited';
  const { scale, suffix } = unitFor(value === 0 ? 1 : value, quantity);
  return formatNumber(value / scale) + suffix;
}

/** A number with four significant digits and no trailing zeros; whole numbers below 10^6 as they are. */
export function formatNumber(value: number): string {
  if (Number.isInteger(value) && Math.abs(value) < 1e6) return String(value);
  const digits = Number(value.toPrecision(4));
  return Math.abs(digits) >= 1e6 || (digits !== 0 && Math.abs(digits) < 1e-4)
    ? digits.toExponential()
    : String(digits);
}
