/** Which labels of a growing list are worth keeping: those that no cheaper one dominates. */

import { doubled, type LabelList } from './label-list.ts';

/** What a row asks of a dominating label's total: at most, at least, or exactly the dominated one's. */
type Direction = 'less' | 'more' | 'equal';

export interface FrontierRow {
  readonly direction: Direction;
  readonly price: number;
}

/** A label is compared with this many at most: dominance only saves work, so missing some is harmless. */
const maximumComparisons = 256;
const tableSize = 1 << 12;

/**
 * Label k dominates label l when it costs no more and is no worse in any row: whatever completes l completes k. With
 * reduced cost r = cost + price * total + constant, cost_k <= cost_l reads r_l - r_k >= sum price * (total_l - total_k),
 * where every term of the sum is >= 0. So a dominating label is never further below in a priced row than gap / price:
 * labels are hashed by cells of that width, and only a cell and its lower neighbours are searched.
 */
export class Frontier {
  readonly #rows: readonly FrontierRow[];
  readonly #price: Float64Array;
  /** +1, -1 or 0 per row: less, more, equal. */
  readonly #sign: Int8Array;
  /** Rows that make cells, two at most, and 1 / cell width, 0 where absent. */
  readonly #axis = [0, 0];
  readonly #perWidth = [0, 0];
  /** 1 + label that came last in each slot, and 1 + the one before each label. */
  readonly #head = new Int32Array(tableSize);
  #previous = new Int32Array(256);
  #list!: LabelList;

  constructor(rows: readonly FrontierRow[], gap: number) {
    this.#rows = rows;
    this.#price = Float64Array.from(rows, (row) => row.price);
    this.#sign = Int8Array.from(rows, ({ direction }) =>
      direction === 'less' ? 1 : direction === 'more' ? -1 : 0,
    );
    rows
      .flatMap(({ direction, price }, i) => (direction !== 'equal' && price !== 0 ? [{ i, price }] : []))
      .slice(0, 2)
      .forEach(({ i, price }, k) => {
        this.#axis[k] = i;
        this.#perWidth[k] = Math.abs(price) / Math.max(gap, Number.MIN_VALUE);
      });
  }

  clear(list: LabelList): void {
    this.#list = list;
    this.#head.fill(0);
  }

  /** Whether no label of the list dominates the one just behind its end; if so it is remembered. */
  add(): boolean {
    const { total, size, rows } = this.#list;
    const at = size * rows;
    const key = this.#equalKey(total, at);
    const x = this.#cell(0, total, at);
    const y = this.#cell(1, total, at);
    // Lower is where the totals of dominating labels are: down in 'less' rows, up in 'more' rows.
    const xNext = rows > 0 ? x - this.#sign[this.#axis[0]!]! : x;
    const yNext = rows > 0 ? y - this.#sign[this.#axis[1]!]! : y;
    let left = maximumComparisons;
    const own = slot(x, y, key);
    for (let k = 0; k < 4 && left > 0; k++) {
      if ((k & 1) === 1 && this.#perWidth[0] === 0) continue;
      if ((k & 2) === 2 && this.#perWidth[1] === 0) continue;
      const where = k === 0 ? own : slot((k & 1) === 1 ? xNext : x, (k & 2) === 2 ? yNext : y, key);
      for (
        let other = this.#head[where]!;
        other > 0 && left > 0;
        other = this.#previous[other - 1]!, left--
      ) {
        if (this.#dominates(other - 1, size)) return false;
      }
    }
    if (size >= this.#previous.length) this.#previous = doubled(this.#previous);
    this.#previous[size] = this.#head[own]!;
    this.#head[own] = size + 1;
    return true;
  }

  #dominates(k: number, l: number): boolean {
    const { total, cost, rows } = this.#list;
    let worth = 0;
    for (let i = 0; i < rows; i++) {
      const difference = total[l * rows + i]! - total[k * rows + i]!;
      const sign = this.#sign[i]!;
      if (sign === 0 ? difference !== 0 : sign * difference < 0) return false;
      worth += this.#price[i]! * difference;
    }
    return cost[l]! - cost[k]! >= worth;
  }

  #cell(axis: 0 | 1, total: Float64Array, at: number): number {
    const perWidth = this.#perWidth[axis]!;
    return perWidth === 0 ? 0 : Math.floor(total[at + this.#axis[axis]!]! * perWidth);
  }

  /** Labels whose totals must be equal share a slot only with their likes: totals are 52-bit fractions, two halves. */
  #equalKey(total: Float64Array, at: number): number {
    let key = 0;
    for (let i = 0; i < this.#rows.length; i++) {
      if (this.#sign[i] !== 0) continue;
      const high = total[at + i]! * 0x4000000;
      const whole = Math.trunc(high);
      key = Math.imul(key ^ whole, 0x9e3779b1);
      key = Math.imul(key ^ ((high - whole) * 0x4000000), 0x85ebca6b) ^ (key >>> 15);
    }
    return key;
  }
}

function slot(x: number, y: number, key: number): number {
  let h = Math.imul(x, 0x9e3779b1) ^ Math.imul(y, 0x85ebca6b) ^ key;
  h = Math.imul(h ^ (h >>> 15), 0x2c1b3c6d);
  return (h ^ (h >>> 13)) & (tableSize - 1);
}
