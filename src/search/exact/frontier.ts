/** Which labels of a growing list are worth keeping: those that no cheaper one dominates. */

import { doubled, type LabelList } from './label-list.ts';

/** What a row asks of a dominating label's total: at most, at least, or exactly the dominated one's. */
type Direction = 'less' | 'more' | 'equal';

export interface FrontierRow {
  readonly direction: Direction;
  readonly price: number;
}

/** A label is compared with this many at most: dominance only saves work, so missing some is harmless. */
const maximumComparisons = 64;
/** Cells are this share of gap / price wide: 0.5 finds a tenth more dominated labels in thrice the comparisons. */
const cellWidth = 0.25;
const largestTable = 1 << 16;

/**
 * Label k dominates label l when it costs no more and is no worse in any row: whatever completes l completes k. With
 * reduced cost r = cost + price * total + constant, cost_k <= cost_l reads r_l - r_k >= sum price * (total_l - total_k),
 * where every term of the sum is >= 0. So a dominating label is never further below in a priced row than gap / price,
 * and mostly much nearer, as a layer's choices swapped with another layer's give nearly the same totals: labels are
 * hashed by small cells in all rows, and only those of the same cell are compared, the last that dominated one first.
 */
export class Frontier {
  readonly #rows: number;
  readonly #price: Float64Array;
  /** +1, -1 or 0 per row: less, more, equal. */
  readonly #sign: Int8Array;
  /** 1 / cell width per row. */
  readonly #perWidth: Float64Array;
  /** 1 + label that comes first in each slot, and 1 + the one after each label. */
  #head = new Int32Array(64);
  #after = new Int32Array(256);
  #mask = 0;
  #list!: LabelList;

  constructor(rows: readonly FrontierRow[], gap: number) {
    this.#rows = rows.length;
    this.#price = Float64Array.from(rows, (row) => row.price);
    this.#sign = Int8Array.from(rows, ({ direction }) =>
      direction === 'less' ? 1 : direction === 'more' ? -1 : 0,
    );
    this.#perWidth = Float64Array.from(
      rows,
      ({ price }) => Math.abs(price) / Math.max(cellWidth * gap, Number.MIN_VALUE),
    );
  }

  /** Starts over for a list that grows out of one of `expected` labels. */
  clear(list: LabelList, expected: number): void {
    this.#list = list;
    let slots = 64;
    while (slots < largestTable && slots < 2 * expected) slots *= 2;
    if (this.#head.length < slots) this.#head = new Int32Array(slots);
    else this.#head.fill(0, 0, slots);
    this.#mask = slots - 1;
  }

  /** Whether no label of the list dominates the one just behind its end; if so it is remembered. */
  add(): boolean {
    const { size } = this.#list;
    const slot = this.#slot(size);
    const head = this.#head;
    const after = this.#after;
    let before = 0;
    let other = head[slot]!;
    for (let left = maximumComparisons; other > 0 && left > 0; left--) {
      if (this.#dominates(other - 1, size)) {
        if (before > 0) {
          after[before - 1] = after[other - 1]!;
          after[other - 1] = head[slot]!;
          head[slot] = other;
        }
        return false;
      }
      before = other;
      other = after[other - 1]!;
    }
    if (size >= after.length) this.#after = doubled(after);
    this.#after[size] = head[slot]!;
    head[slot] = size + 1;
    return true;
  }

  #dominates(k: number, l: number): boolean {
    const { total, cost } = this.#list;
    const rows = this.#rows;
    const price = this.#price;
    let worth = 0;
    for (let i = 0; i < rows; i++) {
      const difference = total[l * rows + i]! - total[k * rows + i]!;
      const sign = this.#sign[i]!;
      if (sign === 0 ? difference !== 0 : sign * difference < 0) return false;
      worth += price[i]! * difference;
    }
    return cost[l]! - cost[k]! >= worth;
  }

  #slot(label: number): number {
    const { total } = this.#list;
    const rows = this.#rows;
    let hash = 0;
    for (let i = 0; i < rows; i++) {
      const value = total[label * rows + i]!;
      if (this.#sign[i] === 0) {
        // Totals are 52-bit fractions: two halves.
        const high = value * 0x4000000;
        const whole = Math.trunc(high);
        hash = Math.imul(hash ^ whole, 0x85ebca6b) ^ (hash >>> 15);
        hash = Math.imul(hash ^ ((high - whole) * 0x4000000), 0x9e3779b1);
      } else {
        hash = Math.imul(hash ^ Math.floor(value * this.#perWidth[i]!), 0x9e3779b1);
      }
      hash ^= hash >>> 15;
    }
    return hash & this.#mask;
  }
}
