/** Marks the columns that another column of their group makes pointless. */

import type { RawCore } from './core.ts';

/**
 * 1 per column worth keeping. Column i dominates j of the same group when it costs no more and is no worse in any row
 * (no greater below an upper limit, no less above a lower one, equal between two; Sinha & Zoltners, 1979, for one row).
 * Where all of these are equal, the resources without limits decide, then the order: of twins, the first stays.
 */
export function undominated(
  { start, cost, weight, lower, upper }: RawCore,
  free: readonly Float64Array[],
): Uint8Array {
  const keep = new Uint8Array(cost.length);
  const capped = weight.filter((_, r) => upper[r]! < Infinity);
  const floored = weight.filter((_, r) => lower[r]! > -Infinity);
  // In this order a column comes after all that dominate it, and after the twin that stays.
  const order = (i: number, j: number): number => {
    if (cost[i] !== cost[j]) return cost[i]! - cost[j]!;
    for (const w of capped) if (w[i] !== w[j]) return w[i]! - w[j]!;
    for (const w of floored) if (w[i] !== w[j]) return w[j]! - w[i]!;
    for (const w of free) if (w[i] !== w[j]) return w[i]! - w[j]!;
    return i - j;
  };
  const noWorse = (i: number, j: number): boolean => {
    for (const w of capped) if (w[i]! > w[j]!) return false;
    for (const w of floored) if (w[i]! < w[j]!) return false;
    return true;
  };
  for (let g = 0; g + 1 < start.length; g++) {
    const columns = Int32Array.from({ length: start[g + 1]! - start[g]! }, (_, k) => start[g]! + k);
    columns.sort(order);
    const kept: number[] = [];
    for (const j of columns) {
      if (kept.some((i) => noWorse(i, j))) continue;
      kept.push(j);
      keep[j] = 1;
    }
  }
  return keep;
}
