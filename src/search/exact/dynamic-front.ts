/** All non-dominated pairs of cost and weight of a problem with one row, by dynamic programming over its groups. */

import { normalise, type RawCore } from './core.ts';

interface DynamicFront {
  /** Columns per group of each point, in order of falling weight and rising cost. */
  readonly picks: readonly Int32Array[];
  readonly complete: boolean;
  /** How much a point's cost may exceed that of a missing one of no less weight; 0: none is missing. */
  readonly epsilon: number;
}

/** The non-dominated partial choices over the first groups, by rising weight and falling cost. */
interface Stage {
  readonly size: number;
  readonly weight: Float64Array;
  readonly cost: Float64Array;
  /** Position in the stage before, and column taken. */
  readonly parent: Int32Array;
  readonly column: Int32Array;
}

/** Beyond this many labels in one stage the front is thinned out. */
const mostLabels = 250_000;
/** By how much of the costs' range in all, the first time; tenfold each time that it didn't suffice. */
const firstThinning = 1e-6;

/**
 * Nemhauser & Ullmann (1969), with groups (Kellerer, Pferschy & Pisinger, 2004, section 11.5): what a dominated partial
 * choice can become, a dominating one can too. The row's upper limit cuts what exceeds it even with the lightest rest.
 *
 * When a stage has too many labels, those whose cost falls short of the last kept one by less than epsilon / groups are
 * dropped (Warburton, 1987): over all groups the costs lost add up to at most epsilon.
 */
export function dynamicFront(raw: RawCore, deadline: number): DynamicFront {
  const core = normalise(raw);
  for (let thinning = 0; ; thinning = thinning === 0 ? firstThinning : 10 * thinning) {
    const stages: Stage[] = [];
    let last: Stage = {
      size: 1,
      weight: new Float64Array(1),
      cost: new Float64Array(1),
      parent: new Int32Array(1),
      column: new Int32Array(1),
    };
    // Weights start at 0 in each group, so the lightest rest weighs nothing.
    const weight = core.weight[0]!;
    const limit = core.upper[0]!;
    for (let g = 0; g < core.groups; g++) {
      if (performance.now() > deadline) return { picks: [], complete: false, epsilon: 0 };
      const columns = frontOfGroup(core.start[g]!, core.start[g + 1]!, weight, core.cost);
      last = extendStage(last, columns, weight, core.cost, limit, thinning / core.groups);
      if (last.size > mostLabels) break;
      stages.push(last);
    }
    if (last.size > mostLabels) continue;
    const picks = Array.from({ length: last.size }, (_, k) => trace(stages, last.size - 1 - k, core.origin));
    return { picks, complete: true, epsilon: thinning / core.costScale };
  }
}

/** The non-dominated columns of a group, by rising weight. */
function frontOfGroup(start: number, end: number, weight: Float64Array, cost: Float64Array): number[] {
  const columns = Array.from({ length: end - start }, (_, k) => start + k);
  columns.sort((a, b) => weight[a]! - weight[b]! || cost[a]! - cost[b]!);
  let least = Infinity;
  return columns.filter((column) => {
    if (cost[column]! >= least) return false;
    least = cost[column]!;
    return true;
  });
}

function extendStage(
  from: Stage,
  columns: readonly number[],
  weight: Float64Array,
  cost: Float64Array,
  limit: number,
  thinning: number,
): Stage {
  const capacity = Math.min(from.size * columns.length, mostLabels + 1);
  const to = {
    size: 0,
    weight: new Float64Array(capacity),
    cost: new Float64Array(capacity),
    parent: new Int32Array(capacity),
    column: new Int32Array(capacity),
  };
  if (from.size === 0) return to;
  const next = new Int32Array(columns.length);
  const head = Float64Array.from(columns, (column) => from.weight[0]! + weight[column]!);
  let least = Infinity;
  for (;;) {
    let a = 0;
    for (let b = 1; b < head.length; b++) if (head[b]! < head[a]!) a = b;
    const total = head[a]!;
    if (total > limit || total === Infinity) return to;
    const source = next[a]!++;
    const column = columns[a]!;
    head[a] = next[a]! < from.size ? from.weight[next[a]!]! + weight[column]! : Infinity;
    const sum = from.cost[source]! + cost[column]!;
    if (sum >= least - thinning) continue;
    least = sum;
    // Of equal weights the cheaper one, which comes later, replaces the other.
    const at = to.size > 0 && to.weight[to.size - 1] === total ? to.size - 1 : to.size++;
    to.weight[at] = total;
    to.cost[at] = sum;
    to.parent[at] = source;
    to.column[at] = column;
    if (to.size > mostLabels) return to;
  }
}

function trace(stages: readonly Stage[], label: number, origin: Int32Array): Int32Array {
  const pick = new Int32Array(stages.length);
  let at = label;
  for (let g = stages.length - 1; g >= 0; g--) {
    const stage = stages[g]!;
    pick[g] = origin[stage.column[at]!]!;
    at = stage.parent[at]!;
  }
  return pick;
}
