/** The exact solver's arithmetic form: minimise cost, one column per group, rows within limits; typed arrays only. */

/**
 * A multiple-choice knapsack problem in several dimensions, normalised so that tolerances can be absolute:
 * - costs start at 0 in each group and their greatest sum lies in (1/2, 1];
 * - weights start at 0 in each group, their greatest sum is below 1, and each is a multiple of 2^-52, so every sum of
 *   weights is exact whatever its order: equal totals compare equal, and no limit is passed by rounding.
 * All scales are powers of two.
 */
export interface Core {
  readonly groups: number;
  /** Columns of group g: start[g] <= column < start[g + 1]. */
  readonly start: Int32Array;
  readonly cost: Float64Array;
  readonly rows: number;
  /** weight[row][column]. */
  readonly weight: readonly Float64Array[];
  readonly lower: Float64Array;
  readonly upper: Float64Array;
  /** The column of the first, unnormalised data that each column is. */
  readonly origin: Int32Array;
  /** Cost in the terms of that data: cost / costScale + costShift. */
  readonly costScale: number;
  readonly costShift: number;
  /** Weights and limits of that data were multiplied by it, per row. */
  readonly rowScale: Float64Array;
}

/** Data to normalise: a problem's, or a core of which some columns are dropped. Costs are to be minimised. */
export interface RawCore {
  readonly start: Int32Array;
  readonly cost: Float64Array;
  readonly weight: readonly Float64Array[];
  readonly lower: Float64Array;
  readonly upper: Float64Array;
  readonly origin?: Int32Array;
  readonly costScale?: number;
  readonly costShift?: number;
  readonly rowScale?: Float64Array;
}

/** Weights are multiples of this, and sums of them are below 1: 52 bits, one fewer than a double holds. */
const quantum = 2 ** -52;

/** Normalises raw data; `keep` (all if absent) says which columns survive, at least one per group. */
export function normalise(raw: RawCore, keep?: Uint8Array): Core {
  const groups = raw.start.length - 1;
  const start = new Int32Array(groups + 1);
  const columns: number[] = [];
  for (let g = 0; g < groups; g++) {
    for (let j = raw.start[g]!; j < raw.start[g + 1]!; j++) if (!keep || keep[j] === 1) columns.push(j);
    start[g + 1] = columns.length;
  }
  const kept = Int32Array.from(columns);
  const cost = gather(raw.cost, kept);
  const costs = shiftGroups(cost, start);
  const costScale = powerOfTwoAbove(costs.range) ** -1;
  for (let j = 0; j < cost.length; j++) cost[j]! *= costScale;

  const rows = raw.weight.length;
  const lower = new Float64Array(rows);
  const upper = new Float64Array(rows);
  const rowScale = new Float64Array(rows);
  const weight = raw.weight.map((rawWeight, i) => {
    const own = gather(rawWeight, kept);
    const { shift, range } = shiftGroups(own, start);
    // Rounding up may add one quantum per group; twice the range leaves room for that.
    const scale = powerOfTwoAbove(range * (1 + groups * quantum)) ** -1;
    for (let j = 0; j < own.length; j++) own[j] = Math.round((own[j]! * scale) / quantum) * quantum;
    rowScale[i] = scale * (raw.rowScale?.[i] ?? 1);
    lower[i] = (raw.lower[i]! - shift) * scale;
    upper[i] = (raw.upper[i]! - shift) * scale;
    return own;
  });
  return {
    groups,
    start,
    cost,
    rows,
    weight,
    lower,
    upper,
    origin: kept.map((j) => raw.origin?.[j] ?? j),
    costScale: costScale * (raw.costScale ?? 1),
    costShift: (raw.costShift ?? 0) + costs.shift / (raw.costScale ?? 1),
    rowScale,
  };
}

function gather(values: Float64Array, columns: Int32Array): Float64Array {
  const gathered = new Float64Array(columns.length);
  for (let k = 0; k < columns.length; k++) gathered[k] = values[columns[k]!]!;
  return gathered;
}

/** Makes the least value of each group 0; returns what that took away and the greatest sum that is left. */
function shiftGroups(values: Float64Array, start: Int32Array): { shift: number; range: number } {
  let shift = 0;
  let range = 0;
  for (let g = 0; g + 1 < start.length; g++) {
    let least = Infinity;
    let most = -Infinity;
    for (let j = start[g]!; j < start[g + 1]!; j++) {
      least = Math.min(least, values[j]!);
      most = Math.max(most, values[j]!);
    }
    for (let j = start[g]!; j < start[g + 1]!; j++) values[j]! -= least;
    shift += least;
    range += most - least;
  }
  return { shift, range };
}

/** The clamp keeps the reciprocal finite when all differences are denormal. */
function powerOfTwoAbove(range: number): number {
  return range > 0 ? 2 ** Math.max(-1000, Math.ceil(Math.log2(range))) : 1;
}
