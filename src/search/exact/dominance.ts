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
  const keep = new Uint8Array(cost.length).fill(1);
  const capped = weight.filter((_, i) => upper[i]! < Infinity);
  const floored = weight.filter((_, i) => lower[i]! > -Infinity);
  const noWorse = (i: number, j: number): boolean =>
    cost[i]! <= cost[j]! && capped.every((w) => w[i]! <= w[j]!) && floored.every((w) => w[i]! >= w[j]!);
  const noMoreOfFree = (i: number, j: number): boolean => free.every((w) => w[i]! <= w[j]!);
  for (let g = 0; g + 1 < start.length; g++) {
    for (let j = start[g]!; j < start[g + 1]!; j++) {
      for (let i = start[g]!; i < start[g + 1]! && keep[j] === 1; i++) {
        if (i === j || keep[i] === 0 || cost[i]! > cost[j]! || !noWorse(i, j)) continue;
        const twins = noWorse(j, i);
        const betterTwin = noMoreOfFree(i, j) && (i < j || !noMoreOfFree(j, i));
        if (!twins || betterTwin || (i < j && !noMoreOfFree(j, i))) keep[j] = 0;
      }
    }
  }
  return keep;
}
