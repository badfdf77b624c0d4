/** Chooses which of many measured positions a coarse grid keeps. */

/** Curves over one axis: `values[curve][position]`, NaN where not measured. */
export type Curves = readonly Float64Array[];

/**
 * The `count` positions from which linear interpolation over `x` (ascending) restores all curves best: least sum of
 * absolute errors, exact by dynamic programming over segments. First and last are always kept.
 */
export function bestKnots(x: readonly number[], curves: Curves, count: number): number[] {
  const n = x.length;
  if (n <= count) return x.map((_, i) => i);
  // best[s][j]: least cost of covering 0..j with s segments.
  let best = Float64Array.from({ length: n }, (_, j) => (j === 0 ? 0 : Infinity));
  const previous: Int32Array[] = [];
  const cost = segmentCosts(x, curves);
  for (let segment = 1; segment < count; segment++) {
    const next = new Float64Array(n).fill(Infinity);
    const from = new Int32Array(n);
    for (let j = segment; j < n; j++) {
      for (let i = segment - 1; i < j; i++) {
        const total = best[i]! + cost[i * n + j]!;
        if (total < next[j]!) {
          next[j] = total;
          from[j] = i;
        }
      }
    }
    best = next;
    previous.push(from);
  }
  const chosen = [n - 1];
  for (const from of previous.toReversed()) chosen.unshift(from[chosen[0]!]!);
  return chosen;
}

/** Error of leaving out everything between i and j: at i * n + j. */
function segmentCosts(x: readonly number[], curves: Curves): Float64Array {
  const n = x.length;
  const costs = new Float64Array(n * n);
  for (let i = 0; i < n; i++) {
    for (let j = i + 2; j < n; j++) {
      let total = 0;
      for (let m = i + 1; m < j; m++) {
        const share = (x[m]! - x[i]!) / (x[j]! - x[i]!);
        for (const curve of curves) {
          const error = curve[m]! - curve[i]! * (1 - share) - curve[j]! * share;
          if (error === error) total += Math.abs(error);
        }
      }
      costs[i * n + j] = total;
    }
  }
  return costs;
}
