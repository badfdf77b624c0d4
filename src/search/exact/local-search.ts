/** Turns a choice into a good one that keeps the limits: repair, then swaps of one and of two groups. */

import type { Core } from './core.ts';
import type { Dual } from './dual.ts';

/** Pairs of columns are tried among this many of the least reduced cost. */
const pairCandidates = 48;
const maximumSwaps = 200;

/**
 * The best choice (column per group) that local search reaches from the dual's choices; undefined if it finds none that
 * keeps the limits.
 */
export function localSearch(core: Core, dual: Dual): { pick: Int32Array; cost: number } | undefined {
  let best: State | undefined;
  const candidates = cheapestColumns(core, dual.reduced);
  for (const start of dual.picks) {
    const state = new State(core, start);
    if (!repair(state, dual.reduced)) continue;
    improve(state, candidates);
    if (!best || state.cost < best.cost) best = state;
  }
  return best && { pick: best.pick, cost: best.cost };
}

/** A choice with its cost and totals, kept up to date under swaps. */
class State {
  readonly core: Core;
  readonly pick: Int32Array;
  readonly total: Float64Array;
  cost = 0;

  constructor(core: Core, pick: Int32Array) {
    this.core = core;
    this.pick = pick.slice();
    this.total = new Float64Array(core.rows);
    for (const column of pick) {
      this.cost += core.cost[column]!;
      for (let i = 0; i < core.rows; i++) this.total[i]! += core.weight[i]![column]!;
    }
  }

  swap(group: number, column: number): void {
    const { cost, weight, rows } = this.core;
    const old = this.pick[group]!;
    this.cost += cost[column]! - cost[old]!;
    for (let i = 0; i < rows; i++) this.total[i]! += weight[i]![column]! - weight[i]![old]!;
    this.pick[group] = column;
  }

  /** How far the limits would be passed, over all rows, with some columns exchanged. */
  violation(from1: number, to1: number, from2 = 0, to2 = 0): number {
    const { rows, weight, lower, upper } = this.core;
    let sum = 0;
    for (let i = 0; i < rows; i++) {
      const w = weight[i]!;
      const total = this.total[i]! + (w[to1]! - w[from1]!) + (w[to2]! - w[from2]!);
      if (total > upper[i]!) sum += total - upper[i]!;
      else if (total < lower[i]!) sum += lower[i]! - total;
    }
    return sum;
  }
}

/** Swaps single groups, the least reduced cost per violation removed first, until the limits are kept. */
function repair(state: State, reduced: Float64Array): boolean {
  const { groups, start } = state.core;
  for (let step = 0; step < maximumSwaps; step++) {
    const violation = state.violation(0, 0);
    if (violation === 0) return true;
    let best = Infinity;
    let bestGroup = -1;
    let bestColumn = -1;
    for (let g = 0; g < groups; g++) {
      const old = state.pick[g]!;
      for (let j = start[g]!; j < start[g + 1]!; j++) {
        if (j === old) continue;
        const removed = violation - state.violation(old, j);
        if (removed <= 0) continue;
        const rate = (reduced[j]! - reduced[old]!) / removed;
        if (rate < best) [best, bestGroup, bestColumn] = [rate, g, j];
      }
    }
    if (bestGroup < 0) return false;
    state.swap(bestGroup, bestColumn);
  }
  return false;
}

/** Takes the best swap of one group, or else of two among the candidates, until none lowers the cost. */
function improve(
  state: State,
  candidates: { readonly columns: Int32Array; readonly group: Int32Array },
): void {
  for (let step = 0; step < maximumSwaps; step++) {
    if (!improveOne(state) && !improveTwo(state, candidates.columns, candidates.group)) return;
  }
}

function improveOne(state: State): boolean {
  const { groups, start, cost } = state.core;
  let best = 0;
  let bestGroup = -1;
  let bestColumn = -1;
  for (let g = 0; g < groups; g++) {
    const old = state.pick[g]!;
    for (let j = start[g]!; j < start[g + 1]!; j++) {
      const change = cost[j]! - cost[old]!;
      if (change < best && state.violation(old, j) === 0) [best, bestGroup, bestColumn] = [change, g, j];
    }
  }
  if (bestGroup >= 0) state.swap(bestGroup, bestColumn);
  return bestGroup >= 0;
}

function improveTwo(state: State, columns: Int32Array, group: Int32Array): boolean {
  const { cost } = state.core;
  let best = 0;
  let [bestA, bestB] = [-1, -1];
  for (let a = 0; a < columns.length; a++) {
    const oldA = state.pick[group[a]!]!;
    const changeA = cost[columns[a]!]! - cost[oldA]!;
    for (let b = 0; b < a; b++) {
      if (group[a] === group[b]) continue;
      const oldB = state.pick[group[b]!]!;
      const change = changeA + cost[columns[b]!]! - cost[oldB]!;
      if (change < best && state.violation(oldA, columns[a]!, oldB, columns[b]!) === 0)
        [best, bestA, bestB] = [change, a, b];
    }
  }
  if (bestA < 0) return false;
  state.swap(group[bestA]!, columns[bestA]!);
  state.swap(group[bestB]!, columns[bestB]!);
  return true;
}

function cheapestColumns(
  { groups, start }: Core,
  reduced: Float64Array,
): { columns: Int32Array; group: Int32Array } {
  const groupOf = new Int32Array(reduced.length);
  for (let g = 0; g < groups; g++) groupOf.fill(g, start[g], start[g + 1]);
  // Only columns among the 4 cheapest values of the 2 per group on average: sorting all would cost more than it finds.
  const sorted = reduced.slice().sort();
  const limit = sorted[Math.min(sorted.length, groups + pairCandidates) - 1]!;
  const columns: number[] = [];
  for (let j = 0; j < reduced.length && columns.length < groups + pairCandidates; j++)
    if (reduced[j]! <= limit) columns.push(j);
  return { columns: Int32Array.from(columns), group: Int32Array.from(columns, (j) => groupOf[j]!) };
}
