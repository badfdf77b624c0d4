/** Joins the two lists of an enumeration: the cheapest pair of labels whose totals keep every limit. */

import type { LabelList } from './label-list.ts';

/** Limits and prices of the rows that matter, relative to the totals of the labels. */
export interface Window {
  readonly lower: Float64Array;
  readonly upper: Float64Array;
  readonly price: Float64Array;
}

export interface Pair {
  readonly left: number;
  readonly right: number;
  /** Reduced costs plus what the unused part of priced limits is worth: how far above the bound the choice lies. */
  readonly gap: number;
}

/**
 * The pair with the least gap, at most `gap`; undefined if there is none.
 *
 * A choice's cost exceeds the dual bound by its reduced costs plus price * slack of each row (complementary slackness),
 * so a priced row leaves a window no wider than gap / price. The right labels are sorted into cells of that width along
 * the two rows with the narrowest windows; a left label then meets few cells. Two lists: Horowitz & Sahni (1974); with
 * core and loss budget: Beier & Voecking, "An experimental study of random knapsack problems" (2004).
 */
export function join(left: LabelList, right: LabelList, window: Window, gap: number): Pair | undefined {
  const rows = left.rows;
  const { lower, upper, price } = window;
  const grid = new Grid(right, window, gap);
  let best = gap;
  let bestLeft = -1;
  let bestRight = -1;
  for (let a = 0; a < left.size; a++) {
    const leftCost = left.cost[a]!;
    if (leftCost > best) break;
    const [x0, x1, y0, y1] = grid.reach(left.total, a * rows, best - leftCost);
    for (let x = x0; x <= x1; x++) {
      for (let y = y0; y <= y1; y++) {
        const cell = x * grid.height + y;
        const end = grid.start[cell + 1]!;
        scan: for (let k = grid.start[cell]!; k < end; k++) {
          const b = grid.label[k]!;
          let cost = leftCost + right.cost[b]!;
          if (cost > best) break;
          for (let i = 0; i < rows; i++) {
            const total = left.total[a * rows + i]! + right.total[b * rows + i]!;
            if (total > upper[i]! || total < lower[i]!) continue scan;
            const p = price[i]!;
            if (p > 0) cost += p * (upper[i]! - total);
            else if (p < 0) cost += p * (lower[i]! - total);
          }
          if (cost > best || (cost === best && bestLeft >= 0)) continue;
          best = cost;
          bestLeft = a;
          bestRight = b;
        }
      }
    }
  }
  return bestLeft < 0 ? undefined : { left: bestLeft, right: bestRight, gap: best };
}

/** A pair with its total in the row that is traded against cost. */
interface FrontPair extends Pair {
  readonly total: number;
}

/** The traded row's totals fall into this many bins, of which the cheapest pairs are known. */
const frontBins = 1024;

/**
 * The pairs within the gap that no other beats in gap and in the total of one row, totals from `lowest` on, the greatest
 * total first. Of equal pairs one is there.
 */
export function joinFront(
  left: LabelList,
  right: LabelList,
  window: Window,
  gap: number,
  axis: { readonly row: number; readonly lowest: number },
): Pair[] {
  const rows = left.rows;
  const { upper, price } = window;
  const lower = window.lower.with(axis.row, axis.lowest);
  const grid = new Grid(right, { ...window, lower }, gap);
  const bins = Array.from({ length: frontBins }, (): FrontPair[] => []);
  /** The least gap in each bin and all below. */
  const least = new Float64Array(frontBins).fill(Infinity);
  const perTotal = frontBins / Math.max(upper[axis.row]! - axis.lowest, Number.MIN_VALUE);
  for (let a = 0; a < left.size; a++) {
    const leftCost = left.cost[a]!;
    const [x0, x1, y0, y1] = grid.reach(left.total, a * rows, gap - leftCost);
    for (let x = x0; x <= x1; x++) {
      for (let y = y0; y <= y1; y++) {
        const cell = x * grid.height + y;
        const end = grid.start[cell + 1]!;
        scan: for (let k = grid.start[cell]!; k < end; k++) {
          const b = grid.label[k]!;
          let cost = leftCost + right.cost[b]!;
          if (cost > gap) break;
          for (let i = 0; i < rows; i++) {
            const total = left.total[a * rows + i]! + right.total[b * rows + i]!;
            if (total > upper[i]! || total < lower[i]!) continue scan;
            const p = price[i]!;
            if (p > 0) cost += p * (upper[i]! - total);
            else if (p < 0) cost += p * (lower[i]! - total);
          }
          const total = left.total[a * rows + axis.row]! + right.total[b * rows + axis.row]!;
          const bin = Math.min(frontBins - 1, Math.floor((total - axis.lowest) * perTotal));
          if (cost > gap || (bin > 0 && cost >= least[bin - 1]!)) continue;
          const own = bins[bin]!;
          if (own.some((pair) => pair.gap <= cost && pair.total <= total)) continue;
          own.push({ left: a, right: b, gap: cost, total });
          for (let above = bin; above < frontBins && least[above]! > cost; above++) least[above] = cost;
        }
      }
    }
  }
  const pairs = bins.flat().sort((p, q) => p.total - q.total || p.gap - q.gap);
  let cheapest = Infinity;
  return pairs
    .filter((pair) => {
      if (pair.gap >= cheapest) return false;
      cheapest = pair.gap;
      return true;
    })
    .reverse();
}

/** Right labels by cell; within a cell the list's order, by reduced cost, is kept (counting sort). */
class Grid {
  readonly label: Int32Array;
  readonly start: Int32Array;
  readonly height: number;
  readonly #width: number;
  readonly #axes: readonly Axis[];
  readonly #window: Window;
  readonly #range: [number, number, number, number] = [0, 0, 0, 0];

  constructor(list: LabelList, window: Window, gap: number) {
    this.#window = window;
    const most = list.rows === 1 ? list.size : 2 * Math.ceil(Math.sqrt(list.size));
    this.#axes = Array.from({ length: list.rows }, (_, row) => axis(list, window, row, gap, most))
      .sort((a, b) => b.cells - a.cells)
      .slice(0, 2);
    this.#width = this.#axes[0]?.cells ?? 1;
    this.height = this.#axes[1]?.cells ?? 1;
    const cells = new Int32Array(list.size);
    this.start = new Int32Array(this.#width * this.height + 1);
    for (let k = 0; k < list.size; k++) {
      let cell = 0;
      for (const { row, least, size, cells: count } of this.#axes) {
        cell =
          cell * count + Math.min(count - 1, Math.floor((list.total[k * list.rows + row]! - least) / size));
      }
      cells[k] = cell;
      this.start[cell + 1]!++;
    }
    for (let c = 0; c + 1 < this.start.length; c++) this.start[c + 1]! += this.start[c]!;
    const next = this.start.slice();
    this.label = new Int32Array(list.size);
    for (let k = 0; k < list.size; k++) this.label[next[cells[k]!]!++] = k;
  }

  /** Cells [x0, x1] x [y0, y1] that hold every partner within the gap of a label with the totals at `at`. */
  reach(total: Float64Array, at: number, gap: number): readonly [number, number, number, number] {
    const range = this.#range;
    range[0] = range[1] = range[2] = range[3] = 0;
    const { lower, upper, price } = this.#window;
    for (let k = 0; k < this.#axes.length; k++) {
      const { row, least, size, cells } = this.#axes[k]!;
      const p = price[row]!;
      let from = lower[row]!;
      let to = upper[row]!;
      if (p > 0) from = Math.max(from, to - gap / p);
      if (p < 0) to = Math.min(to, from - gap / p);
      const own = total[at + row]! + least;
      // One rounding either way must not lose the neighbouring cell's edge: the limits themselves are checked later.
      range[2 * k] = Math.max(0, Math.floor((from - own) / size - 1e-9));
      range[2 * k + 1] = Math.min(cells - 1, Math.floor((to - own) / size + 1e-9));
    }
    return range;
  }
}

interface Axis {
  readonly row: number;
  readonly least: number;
  readonly size: number;
  readonly cells: number;
}

function axis(
  list: LabelList,
  { lower, upper, price }: Window,
  row: number,
  gap: number,
  mostCells: number,
): Axis {
  let least = Infinity;
  let most = -Infinity;
  for (let k = 0; k < list.size; k++) {
    least = Math.min(least, list.total[k * list.rows + row]!);
    most = Math.max(most, list.total[k * list.rows + row]!);
  }
  const p = Math.abs(price[row]!);
  const window = Math.min(upper[row]! - lower[row]!, p > 0 ? gap / p : Infinity);
  const size = Math.max(window, (most - least) / mostCells);
  const cells = size > 0 && size < Infinity ? Math.floor((most - least) / size) + 1 : 1;
  return { row, least, size: cells === 1 ? 1 : size, cells };
}
