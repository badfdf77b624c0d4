/** What the groups still to come can cost at least, seen from a partial choice: the enumeration's lower bounds. */

import type { CoreGroup } from './extend.ts';
import type { Window } from './join.ts';

/** A label is dropped when cost + slope * total[row] > limit. */
export interface Completion {
  readonly rows: Int32Array;
  readonly slopes: Float64Array;
  readonly limits: Float64Array;
}

/** The price of a row is changed until the dual bound has fallen by this share of the gap. */
const boundGivenUp = 0.3;
const bisections = 3;
/** Where a row can be had for nothing, its slope would grow without end. */
const steepestSlope = 1e3;

/**
 * A label's reduced cost alone says nothing about the budget it has used up: at slightly other prices the rest may have
 * to be dearer than 0. With p + slope as a row's price, a choice within the gap has
 *
 *     sum over its columns of (reduced cost + slope * weight) <= gap + slope * limit of the row,
 *
 * so a partial one may have no more than that less the least terms of the groups that it has not chosen yet. Two such
 * bounds per row, one for too much and one for too little of it.
 */
export class CompletionBounds {
  readonly #rows: number[] = [];
  readonly #slopes: number[] = [];
  /** gap + slope * limit, less the least terms of all groups. */
  readonly #limits: number[] = [];
  /** Least term per bound and group. */
  readonly #least: Float64Array[] = [];

  constructor(groups: readonly CoreGroup[], window: Window, gap: number) {
    const rows = window.price.length;
    for (let row = 0; row < rows; row++) {
      const price = window.price[row]!;
      for (const direction of [1, -1]) {
        // The new price must keep the sign that its limit allows.
        const limit = price > 0 || (price === 0 && direction > 0) ? window.upper[row]! : window.lower[row]!;
        if (Math.abs(limit) === Infinity) continue;
        const steepest = price !== 0 && Math.sign(price) !== direction ? Math.abs(price) : Infinity;
        const fall = (slope: number): number => {
          let sum = 0;
          for (const group of groups) sum += leastTerm(group, rows, row, slope);
          return slope * limit - sum;
        };
        const slope = direction * bisect((size) => fall(direction * size), boundGivenUp * gap, steepest);
        if (slope === 0) continue;
        const least = Float64Array.from(groups, (group) => leastTerm(group, rows, row, slope));
        this.#rows.push(row);
        this.#slopes.push(slope);
        // Sums of weights are exact, their products with the slope are not.
        this.#limits.push(gap + fall(slope) + 2 ** -46 * (1 + Math.abs(slope)));
        this.#least.push(least);
      }
    }
  }

  /** The bounds for labels that have chosen nothing yet. */
  first(): Completion {
    return {
      rows: Int32Array.from(this.#rows),
      slopes: Float64Array.from(this.#slopes),
      limits: Float64Array.from(this.#limits),
    };
  }

  /** Adjusts bounds for labels that from now on have chosen in this group too. */
  choose({ limits }: Completion, group: number): void {
    for (let k = 0; k < limits.length; k++) limits[k]! += this.#least[k]![group]!;
  }
}

function leastTerm({ cost, weight }: CoreGroup, rows: number, row: number, slope: number): number {
  let least = 0;
  for (let a = 1; a < cost.length; a++) least = Math.min(least, cost[a]! + slope * weight[a * rows + row]!);
  return least;
}

/** About the largest x <= most at which a convex function that is 0 at 0 stays below a value. */
function bisect(value: (x: number) => number, below: number, most: number): number {
  let low = 0;
  // Terms are fractions of 1, so no function here grows faster than 2 x.
  let high = Math.min(most, below / 2);
  while (high < most && high < steepestSlope && value(high) < below) {
    low = high;
    high = Math.min(most, 4 * high);
  }
  for (let step = 0; step < bisections; step++) {
    const middle = (low + high) / 2;
    if (value(middle) < below) low = middle;
    else high = middle;
  }
  return low;
}
