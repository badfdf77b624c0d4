/** Grows a label list by one group. */

import type { Completion } from './completion.ts';
import type { Frontier } from './frontier.ts';
import type { LabelList, Trail } from './label-list.ts';

/** The columns of one group that a choice within the gap may take, cheapest first; weights relative to the first. */
export interface CoreGroup {
  readonly columns: Int32Array;
  /** Reduced costs. */
  readonly cost: Float64Array;
  /** `rows` per column. */
  readonly weight: Float64Array;
}

interface Sieve {
  readonly gap: number;
  readonly completion: Completion;
  readonly frontier: Frontier;
}

/**
 * Extends every label of `from` by every column of a group, into `to`, keeping the order by reduced cost (the merge of
 * Nemhauser & Ullmann, 1969), and drops what exceeds the gap, also with the least the other groups cost, and what
 * another label dominates.
 */
export function extend(
  from: LabelList,
  to: LabelList,
  group: CoreGroup,
  trail: Trail,
  { gap, completion, frontier }: Sieve,
): void {
  const { rows } = from;
  const width = group.columns.length;
  const next = new Int32Array(width);
  const head = group.cost.map((cost) => from.cost[0]! + cost);
  to.size = 0;
  frontier.clear(to, from.size);
  for (;;) {
    let a = 0;
    for (let b = 1; b < width; b++) if (head[b]! < head[a]!) a = b;
    const cost = head[a]!;
    if (cost > gap || cost === Infinity) return;
    const source = next[a]!++;
    head[a] = next[a]! < from.size ? from.cost[next[a]!]! + group.cost[a]! : Infinity;
    if (to.size === to.cost.length) to.grow();
    const at = to.size * rows;
    for (let i = 0; i < rows; i++)
      to.total[at + i] = from.total[source * rows + i]! + group.weight[a * rows + i]!;
    to.cost[to.size] = cost;
    if (exceeds(completion, cost, to.total, at) || !frontier.add()) continue;
    to.node[to.size] = a === 0 ? from.node[source]! : trail.add(from.node[source]!, group.columns[a]!);
    to.size++;
  }
}

function exceeds(
  { rows, slopes, limits }: Completion,
  cost: number,
  total: Float64Array,
  at: number,
): boolean {
  for (let k = 0; k < rows.length; k++)
    if (cost + slopes[k]! * total[at + rows[k]!]! > limits[k]!) return true;
  return false;
}
