/** When two sums count as equal: the rounding slack that every solver and the recheck grant a limit. */

import type { Problem } from './problem.ts';

/**
 * Relative slack of a limit. Adding n numbers errs by at most n * 2^-53 of the sum of their magnitudes (Higham,
 * "Accuracy and Stability of Numerical Algorithms", 2002, section 4.2), so this covers thousands of groups added in any
 * order, and is far below what any budget means: 0.1 byte in 80 GiB.
 */
const limitSlack = 1e-12;

/** Relative difference below which two objective values count as the same. */
export const objectiveTolerance = 1e-9;

/** By how much (absolute) a total of resource `r` may pass its limits and still count as keeping them. */
export function limitTolerance({ groups, resources }: Problem, r: number): number {
  let magnitude = Math.abs(resources[r]!.fixed);
  for (const { alternatives } of groups) {
    let most = 0;
    for (const { uses } of alternatives) most = Math.max(most, Math.abs(uses[r]!));
    magnitude += most;
  }
  return limitSlack * magnitude;
}

/** |value - bound| relative to the larger of the two, as `Solution.gap` states it. */
export function relativeGap(value: number, bound: number): number {
  if (value === bound) return 0;
  if (!Number.isFinite(value) || !Number.isFinite(bound)) return Infinity;
  return Math.abs(value - bound) / Math.max(Math.abs(value), Math.abs(bound));
}
