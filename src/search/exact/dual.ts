/** The Lagrangian dual of a core: the prices of its rows that give the strongest bound. */

import type { Core } from './core.ts';

export interface Dual {
  /** No choice costs less than this; rounding is already subtracted. Infinity: no choice keeps the limits. */
  readonly bound: number;
  /** How far rounding may have put the reduced costs of a choice off, in sum. */
  readonly rounding: number;
  /** Per row: >= 0 where the upper limit binds, <= 0 where the lower one does. */
  readonly price: Float64Array;
  /** Per column: how much the bound rises when a choice takes it (its reduced cost, >= 0; one per group is 0). */
  readonly reduced: Float64Array;
  /** Integer choices (column per group) that the method met, cheapest in priced cost last. */
  readonly picks: readonly Int32Array[];
}

/** Reduced costs above -this end the method: a hundred roundings of numbers around 1. */
const pricingTolerance = 1e-14;
const pivotTolerance = 1e-11;
const maximumIterations = 1000;

/**
 * Maximises L(p) = sum over groups of min_j (c_j + p w_j) - p b, over prices p with the sign their limits allow. L is
 * concave and piecewise linear, and its maximum is the linear relaxation's value (Geoffrion, "Lagrangean relaxation for
 * integer programming", 1974). Column generation (Dantzig & Wolfe, 1960) over whole choices: the master problem has one
 * row per limit and one for convexity, so its basis is tiny; every evaluation of L proposes the next column.
 */
export function solveDual(core: Core): Dual {
  const oracle = new Oracle(core);
  const master = new Master(core, oracle);
  for (let iteration = 0; iteration < maximumIterations; iteration++) {
    if (!master.step()) {
      // Artificial columns in the final basis: either no choice fits, or the penalty was too small to show a choice.
      if (oracle.bestBound > 1 + pricingTolerance || !master.raisePenalty()) break;
    }
    if (oracle.bestBound > 1.5) break;
  }
  oracle.evaluate(oracle.bestPrice);
  // The greatest cost of any choice is at most 1: a bound beyond that proves that there is none.
  const infeasible = oracle.bestBound > 1 + pricingTolerance;
  return {
    bound: infeasible ? Infinity : oracle.bestBound,
    rounding: oracle.bestRounding,
    price: oracle.bestPrice,
    reduced: oracle.reduced(),
    picks: [...master.picks(), oracle.pick.slice()],
  };
}

/** Evaluates L at given prices and remembers the best. */
class Oracle {
  readonly core: Core;
  /** c_j + p w_j at the latest prices. */
  readonly #priced: Float64Array;
  /** The latest minimiser, its cost and its weights. */
  readonly pick: Int32Array;
  readonly total: Float64Array;
  cost = 0;
  /** sum over groups of min_j (c_j + p w_j) at the latest prices. */
  pricedCost = 0;
  bestBound = -Infinity;
  bestRounding = 0;
  readonly bestPrice: Float64Array;

  constructor(core: Core) {
    this.core = core;
    this.#priced = new Float64Array(core.cost.length);
    this.pick = new Int32Array(core.groups);
    this.total = new Float64Array(core.rows);
    this.bestPrice = new Float64Array(core.rows);
  }

  evaluate(price: Float64Array): void {
    const { groups, start, cost, rows, weight } = this.core;
    const priced = this.#priced;
    priced.set(cost);
    for (let i = 0; i < rows; i++) {
      const p = price[i]!;
      if (p === 0) continue;
      const w = weight[i]!;
      for (let j = 0; j < priced.length; j++) priced[j]! += p * w[j]!;
    }
    this.total.fill(0);
    let own = 0;
    let sum = 0;
    for (let g = 0; g < groups; g++) {
      let least = start[g]!;
      for (let j = least + 1; j < start[g + 1]!; j++) if (priced[j]! < priced[least]!) least = j;
      this.pick[g] = least;
      own += cost[least]!;
      sum += priced[least]!;
      for (let i = 0; i < rows; i++) this.total[i]! += weight[i]![least]!;
    }
    this.cost = own;
    this.pricedCost = sum;
    this.#remember(price);
  }

  /**
   * Cost + p (total - b): the totals are exact, so this loses less than the sum of priced terms would. What rounding can
   * add is subtracted: each priced cost is off by at most 2^-53 of its terms per row, and the terms of all groups
   * together stay below 1 (costs) and the prices (weights).
   */
  #remember(price: Float64Array): void {
    const { rows, lower, upper } = this.core;
    let bound = this.cost;
    let magnitude = 1;
    for (let i = 0; i < rows; i++) {
      const p = price[i]!;
      if (p === 0) continue;
      const limit = p > 0 ? upper[i]! : lower[i]!;
      bound += p * (this.total[i]! - limit);
      magnitude += Math.abs(p) * (1 + Math.abs(limit));
    }
    const rounding = 2 ** -50 * magnitude;
    bound -= rounding;
    if (bound > this.bestBound) {
      this.bestBound = bound;
      this.bestRounding = rounding;
      this.bestPrice.set(price);
    }
  }

  reduced(): Float64Array {
    const { groups, start } = this.core;
    const reduced = this.#priced.slice();
    for (let g = 0; g < groups; g++) {
      const least = reduced[this.pick[g]!]!;
      for (let j = start[g]!; j < start[g + 1]!; j++) reduced[j]! -= least;
    }
    return reduced;
  }
}

/** The restricted master problem, a primal simplex with an explicit inverse: limits + 1 rows. */
class Master {
  readonly #oracle: Oracle;
  /** One-sided limits: sign * total[row] <= bound. */
  readonly #row: number[] = [];
  readonly #sign: number[] = [];
  readonly #bound: number[] = [];
  readonly #size: number;
  readonly #inverse: Float64Array;
  readonly #value: Float64Array;
  readonly #basicCost: Float64Array;
  readonly #isArtificial: Uint8Array;
  readonly #basicPick: (Int32Array | undefined)[];
  readonly #dual: Float64Array;
  readonly #entering: Float64Array;
  readonly #direction: Float64Array;
  readonly #price: Float64Array;
  #penalty = 100;

  constructor(core: Core, oracle: Oracle) {
    this.#oracle = oracle;
    for (let i = 0; i < core.rows; i++) {
      if (core.upper[i]! < Infinity) this.#addLimit(i, 1, core.upper[i]!);
      if (core.lower[i]! > -Infinity) this.#addLimit(i, -1, -core.lower[i]!);
    }
    const limits = this.#row.length;
    const size = (this.#size = limits + 1);
    this.#inverse = new Float64Array(size * size);
    this.#value = new Float64Array(size);
    this.#basicCost = new Float64Array(size);
    this.#isArtificial = new Uint8Array(size);
    this.#basicPick = Array.from({ length: size });
    this.#dual = new Float64Array(size);
    this.#entering = new Float64Array(size);
    this.#direction = new Float64Array(size);
    this.#price = new Float64Array(core.rows);

    // First basis: the choice that is best without prices, and per limit its slack or, where violated, an artificial.
    oracle.evaluate(this.#price);
    for (let k = 0; k < limits; k++) {
      const used = this.#sign[k]! * oracle.total[this.#row[k]!]!;
      const slack = this.#bound[k]! - used;
      const unit = slack < 0 ? -1 : 1;
      this.#inverse[k * size + k] = unit;
      this.#inverse[k * size + limits] = -unit * used;
      this.#value[k] = Math.abs(slack);
      this.#isArtificial[k] = slack < 0 ? 1 : 0;
      this.#basicCost[k] = slack < 0 ? this.#penalty : 0;
    }
    this.#inverse[size * size - 1] = 1;
    this.#value[limits] = 1;
    this.#basicCost[limits] = oracle.cost;
    this.#basicPick[limits] = oracle.pick.slice();
  }

  #addLimit(row: number, sign: number, bound: number): void {
    this.#row.push(row);
    this.#sign.push(sign);
    this.#bound.push(bound);
  }

  /** One simplex step; false when no column improves. */
  step(): boolean {
    const size = this.#size;
    const limits = size - 1;
    const entering = this.#entering.fill(0);
    this.#computeDual();
    let cost = 0;
    let pick: Int32Array | undefined;
    let slack = -1;
    let mostNegative = -pricingTolerance;
    for (let k = 0; k < limits; k++) {
      if (-this.#dual[k]! < mostNegative) {
        mostNegative = -this.#dual[k]!;
        slack = k;
      }
    }
    if (slack >= 0) {
      entering[slack] = 1;
    } else {
      const oracle = this.#oracle;
      this.#price.fill(0);
      for (let k = 0; k < limits; k++)
        this.#price[this.#row[k]!]! += this.#sign[k]! * Math.max(0, -this.#dual[k]!);
      oracle.evaluate(this.#price);
      if (oracle.pricedCost - this.#dual[limits]! > -pricingTolerance * Math.max(1, this.#penaltyInUse()))
        return false;
      for (let k = 0; k < limits; k++) entering[k] = this.#sign[k]! * oracle.total[this.#row[k]!]!;
      entering[limits] = 1;
      cost = oracle.cost;
      pick = oracle.pick.slice();
    }
    return this.#pivot(cost, pick);
  }

  #computeDual(): void {
    const size = this.#size;
    for (let j = 0; j < size; j++) {
      let sum = 0;
      for (let i = 0; i < size; i++) sum += this.#basicCost[i]! * this.#inverse[i * size + j]!;
      this.#dual[j] = sum;
    }
  }

  #penaltyInUse(): number {
    return this.#isArtificial.includes(1) ? this.#penalty : 1;
  }

  #pivot(cost: number, pick: Int32Array | undefined): boolean {
    const size = this.#size;
    const inverse = this.#inverse;
    const direction = this.#direction;
    for (let i = 0; i < size; i++) {
      let sum = 0;
      for (let j = 0; j < size; j++) sum += inverse[i * size + j]! * this.#entering[j]!;
      direction[i] = sum;
    }
    let leaving = -1;
    let step = Infinity;
    for (let i = 0; i < size; i++) {
      if (direction[i]! <= pivotTolerance) continue;
      const ratio = this.#value[i]! / direction[i]!;
      if (ratio < step || (ratio === step && this.#isArtificial[i] === 1)) {
        step = ratio;
        leaving = i;
      }
    }
    if (leaving < 0) return false;
    const pivot = direction[leaving]!;
    for (let j = 0; j < size; j++) inverse[leaving * size + j]! /= pivot;
    for (let i = 0; i < size; i++) {
      const factor = direction[i]!;
      if (i === leaving || factor === 0) continue;
      for (let j = 0; j < size; j++) inverse[i * size + j]! -= factor * inverse[leaving * size + j]!;
      this.#value[i] = Math.max(0, this.#value[i]! - factor * step);
    }
    this.#value[leaving] = step;
    this.#basicCost[leaving] = cost;
    this.#isArtificial[leaving] = 0;
    this.#basicPick[leaving] = pick;
    return true;
  }

  /** Makes violations dearer while an artificial column is still in use; false if none is, or the penalty is absurd. */
  raisePenalty(): boolean {
    if (!this.#isArtificial.some((flag, i) => flag === 1 && this.#value[i]! > 0) || this.#penalty > 1e14)
      return false;
    this.#penalty *= 1000;
    for (let i = 0; i < this.#size; i++) if (this.#isArtificial[i] === 1) this.#basicCost[i] = this.#penalty;
    return true;
  }

  /** The integer choices in the basis. */
  picks(): Int32Array[] {
    return this.#basicPick.filter((pick) => pick !== undefined);
  }
}
