/** Finds the best choice within a given distance of the dual bound, by looking at every choice that could be there. */

import type { Core } from './core.ts';
import type { Dual } from './dual.ts';
import { CompletionBounds } from './completion.ts';
import { join, joinFront, type Pair, type Window } from './join.ts';
import { extend, type CoreGroup } from './extend.ts';
import { Frontier, type FrontierRow } from './frontier.ts';
import { LabelList, Trail } from './label-list.ts';

type Enumeration =
  /** `pick` (a column per group) is the best choice found; no other costs less and at most bound + gap. */
  | { readonly kind: 'complete'; readonly pick?: Int32Array; readonly everything: boolean }
  /** A list outgrew the limit, or time is up. */
  | { readonly kind: 'gave-up' };

interface EnumerationLimits {
  readonly labels: number;
  readonly expired: () => boolean;
}

/**
 * Memory that enumerations share, so that one after another allocates nothing new.
 *
 * The method is the core idea of Balas & Zemel (1980) and Pisinger (1995) in the form of Goldberg &
 * Marchetti-Spaccamela (1984): only choices whose reduced costs add up to at most the gap can be that good. They are few,
 * and half of their logarithm is fewer: the groups are split over two lists, which are then joined.
 */
export class Enumerator {
  readonly #trail = new Trail();
  #lists: LabelList[] = [];

  /**
   * @param gap how far above the dual bound the enumeration is to see everything.
   * @param most how far above it a choice is still welcome: lists up to one gap meet in choices up to two.
   */
  best(core: Core, dual: Dual, gap: number, most: number, limits: EnumerationLimits): Enumeration {
    const split = splitGroups(core, dual, gap);
    const lists = this.#grow(split, gap, limits);
    if (!lists) return { kind: 'gave-up' };
    const pair = join(...lists, split.window, most);
    return {
      kind: 'complete',
      ...(pair && { pick: this.#pickOf(core, split, lists, pair) }),
      everything: split.everything,
    };
  }

  /**
   * Every choice within the gap that none beats in cost and in a row's weight, weights from `lowest` on, the heaviest
   * first; undefined when a list outgrew the limit or time is up.
   */
  front(
    core: Core,
    dual: Dual,
    gap: number,
    { row, lowest }: { readonly row: number; readonly lowest: number },
    limits: EnumerationLimits,
  ): { readonly picks: readonly Int32Array[]; readonly labels: number } | undefined {
    const split = splitGroups(core, dual, gap, row);
    const lists = this.#grow(split, gap, limits);
    if (!lists) return undefined;
    const axis = { row: split.axis, lowest: lowest - split.base[split.axis]! };
    const pairs = joinFront(...lists, split.window, gap, axis);
    return {
      picks: pairs.map((pair) => this.#pickOf(core, split, lists, pair)),
      labels: Math.max(lists[0].size, lists[1].size),
    };
  }

  /** The two lists over all groups, or undefined. */
  #grow(split: Split, gap: number, limits: EnumerationLimits): readonly [LabelList, LabelList] | undefined {
    const rows = split.rows.length;
    if (this.#lists[0]?.rows !== rows)
      this.#lists = Array.from({ length: 4 }, () => new LabelList(rows, 256));
    let [left, leftNext, right, rightNext] = this.#lists as [LabelList, LabelList, LabelList, LabelList];
    left.reset();
    right.reset();
    this.#trail.clear();
    const frontier = new Frontier(split.rows, gap);
    const bounds = new CompletionBounds(split.groups, split.window, gap);
    const leftBounds = bounds.first();
    const rightBounds = bounds.first();
    for (const [g, group] of split.groups.entries()) {
      // The smaller list takes the next group, which keeps the two balanced.
      if (left.size <= right.size) {
        bounds.choose(leftBounds, g);
        extend(left, leftNext, group, this.#trail, { gap, completion: leftBounds, frontier });
        [left, leftNext] = [leftNext, left];
      } else {
        bounds.choose(rightBounds, g);
        extend(right, rightNext, group, this.#trail, { gap, completion: rightBounds, frontier });
        [right, rightNext] = [rightNext, right];
      }
      if (Math.max(left.size, right.size) > limits.labels || limits.expired()) return undefined;
    }
    return [left, right];
  }

  #pickOf(core: Core, split: Split, [left, right]: readonly [LabelList, LabelList], pair: Pair): Int32Array {
    const pick = split.first.slice();
    for (const label of [left.node[pair.left]!, right.node[pair.right]!]) {
      for (const column of this.#trail.columns(label)) pick[groupOf(core, column)] = column;
    }
    return pick;
  }
}

interface Split {
  readonly groups: readonly CoreGroup[];
  /** The column of reduced cost 0 per group. */
  readonly first: Int32Array;
  /** Rows that some choice within the gap could break, or that have a price. */
  readonly rows: readonly FrontierRow[];
  readonly window: Window;
  /** The first columns' weights, per row. */
  readonly base: readonly number[];
  /** Position among the rows of the one that was asked for; -1 if none was. */
  readonly axis: number;
  /** No column exceeds the gap: the enumeration sees every choice there is. */
  readonly everything: boolean;
}

/**
 * Sorts out what the gap leaves: columns per group, cheapest first, with weights relative to the first.
 *
 * @param axis a row that matters in any case.
 */
function splitGroups(core: Core, { reduced, price }: Dual, gap: number, axis = -1): Split {
  const { groups, start, weight } = core;
  const first = new Int32Array(groups);
  const open: Int32Array[] = [];
  let worst = 0;
  for (let g = 0; g < groups; g++) {
    const columns: number[] = [];
    let dearest = 0;
    for (let j = start[g]!; j < start[g + 1]!; j++) {
      if (reduced[j]! <= gap) columns.push(j);
      dearest = Math.max(dearest, reduced[j]!);
    }
    worst += dearest;
    if (columns.length > 1) columns.sort((a, b) => reduced[a]! - reduced[b]!);
    first[g] = columns[0]!;
    if (columns.length > 1) open.push(Int32Array.from(columns));
  }
  // Groups with many cheap alternatives multiply labels: the later they come, the fewer steps carry long lists.
  open.sort((a, b) => reduced[b[1]!]! - reduced[a[1]!]!);

  const rows: number[] = [];
  const directions: FrontierRow['direction'][] = [];
  const lower: number[] = [];
  const upper: number[] = [];
  const bases: number[] = [];
  for (let i = 0; i < core.rows; i++) {
    const own = weight[i]!;
    let base = 0;
    for (let g = 0; g < groups; g++) base += own[first[g]!]!;
    let least = base;
    let most = base;
    for (const columns of open) {
      let [down, up] = [0, 0];
      for (const j of columns) {
        const change = own[j]! - own[columns[0]!]!;
        down = Math.min(down, change);
        up = Math.max(up, change);
      }
      least += down;
      most += up;
    }
    const lowerMatters = least < core.lower[i]! || price[i]! < 0;
    const upperMatters = most > core.upper[i]! || price[i]! > 0 || i === axis;
    if (!lowerMatters && !upperMatters) continue;
    directions.push(lowerMatters && upperMatters ? 'equal' : upperMatters ? 'less' : 'more');
    rows.push(i);
    bases.push(base);
    lower.push(core.lower[i]! - base);
    upper.push(core.upper[i]! - base);
  }
  const window = {
    lower: Float64Array.from(lower),
    upper: Float64Array.from(upper),
    price: Float64Array.from(rows, (i) => price[i]!),
  };
  const coreGroups = open.map((columns): CoreGroup => {
    const relative = new Float64Array(columns.length * rows.length);
    columns.forEach((j, a) => {
      rows.forEach((i, k) => (relative[a * rows.length + k] = weight[i]![j]! - weight[i]![columns[0]!]!));
    });
    return { columns, cost: Float64Array.from(columns, (j) => reduced[j]!), weight: relative };
  });
  const frontierRows = rows.map((i, k): FrontierRow => ({ direction: directions[k]!, price: price[i]! }));
  return {
    groups: coreGroups,
    first,
    rows: frontierRows,
    window,
    base: bases,
    axis: rows.indexOf(axis),
    everything: worst <= gap,
  };
}

/** The group of a column, by bisection. */
function groupOf({ start, groups }: Core, column: number): number {
  let low = 0;
  let high = groups;
  while (high - low > 1) {
    const middle = (low + high) >> 1;
    if (start[middle]! <= column) low = middle;
    else high = middle;
  }
  return low;
}
