/** Best-first branch and bound; its leaves are enumerated rather than branched to the end. */

import { normalise, type Core, type RawCore } from './core.ts';
import { solveDual, type Dual } from './dual.ts';
import { Enumerator } from './enumerate.ts';
import { Heap } from './heap.ts';
import { localSearch } from './local-search.ts';

interface SearchOptions {
  /** Stop when no choice can be cheaper than the best found by more than this. */
  readonly closeEnough: (cost: number) => number;
  /** Columns worth considering; all if absent. */
  readonly keep?: Uint8Array;
  /** performance.now() at which to stop. */
  readonly deadline: number;
  /** A choice (column per group) that keeps the limits. */
  readonly start?: Int32Array;
}

interface SearchResult {
  /** Column per group; absent if none was found. */
  readonly pick?: Int32Array;
  readonly cost: number;
  /** No choice costs less. */
  readonly bound: number;
  readonly nodes: number;
  /** Prices per row of the first dual, in the terms of the raw data. */
  readonly price: readonly number[];
}

interface Node {
  readonly core: Core;
  readonly dual: Dual;
  /** No choice of this node costs less, in the terms of the raw data. */
  bound: number;
}

/** A node whose lists outgrow this is branched: that is dearer than a few duals of small cores. */
const labelsPerList = 100000;
/** By how much an enumeration's gap grows when it was not enough: labels then grow about sevenfold. */
const gapGrowth = 1.7;
/** Where one enumeration more of at most this growth ends it, the next goes all the way. */
const lastGrowth = 1.6;
/** The first gap lets about this many groups deviate from the dual's choice. */
const firstDeviations = 16;

/** Solves the raw problem to proven optimality unless the deadline strikes. */
export function branchAndBound(raw: RawCore, options: SearchOptions): SearchResult {
  return new BranchAndBound(raw, options).run();
}

class BranchAndBound {
  readonly #raw: RawCore;
  readonly #options: SearchOptions;
  readonly #enumerator = new Enumerator();
  readonly #open = new Heap<Node>((node) => node.bound);
  #best: Int32Array | undefined;
  #bestCost = Infinity;
  /** What was given up was so because it costs at least this. */
  #floor = Infinity;
  #nodes = 0;

  constructor(raw: RawCore, options: SearchOptions) {
    this.#raw = raw;
    this.#options = options;
    if (options.start) this.#offer(options.start);
  }

  run(): SearchResult {
    const root = this.#root();
    for (;;) {
      const node = this.#open.least();
      if (!node || node.bound >= this.#cutoff() || performance.now() > this.#options.deadline) break;
      this.#open.removeLeast();
      this.#process(node);
    }
    const bound = Math.min(this.#bestCost, this.#floor, this.#open.least()?.bound ?? Infinity);
    return {
      ...(this.#best && { pick: this.#best }),
      cost: this.#bestCost,
      bound,
      nodes: this.#nodes,
      price: Array.from(root.dual.price, (p, i) => (p * root.core.rowScale[i]!) / root.core.costScale),
    };
  }

  #root(): Node {
    const core = normalise(this.#raw, this.#options.keep);
    const dual = solveDual(core);
    const node = this.#node(core, dual, -Infinity);
    if (dual.bound < Infinity) {
      const found = localSearch(core, dual);
      if (found) this.#offer(found.pick.map((column) => core.origin[column]!));
      this.#open.add(this.#shrink(node));
    }
    return node;
  }

  #node(core: Core, dual: Dual, bound: number): Node {
    this.#nodes++;
    return { core, dual, bound: Math.max(bound, core.costShift + dual.bound / core.costScale) };
  }

  /** What a choice must stay below to be worth finding. */
  #cutoff(): number {
    return this.#best ? this.#bestCost - this.#options.closeEnough(this.#bestCost) : Infinity;
  }

  /** The cutoff, for giving up what lies beyond it. */
  #giveUp(): number {
    const cutoff = this.#cutoff();
    this.#floor = Math.min(this.#floor, cutoff);
    return cutoff;
  }

  #offer(pick: Int32Array): void {
    const cost = pick.reduce((sum, column) => sum + this.#raw.cost[column]!, 0);
    if (cost >= this.#bestCost) return;
    this.#best = pick;
    this.#bestCost = cost;
  }

  /** Drops the columns that no choice below the cutoff takes (reduced-cost fixing). */
  #shrink({ core, dual, bound }: Node): Node {
    const gap = this.#gap(core, dual, this.#giveUp());
    const keep = Uint8Array.from(dual.reduced, (r) => (r <= gap ? 1 : 0));
    if (!keep.includes(0)) return { core, dual, bound };
    const small = normalise(core, keep);
    return { core: small, dual: solveDual(small), bound };
  }

  /** How far above a node's dual bound, in the core's terms, a cost lies. */
  #gap(core: Core, dual: Dual, cost: number): number {
    return (cost - core.costShift) * core.costScale - dual.bound + dual.rounding;
  }

  #process(node: Node): void {
    const { core, dual } = node;
    const most = this.#gap(core, dual, this.#giveUp());
    const known = this.#gap(core, dual, node.bound);
    const next = nextGap(core, dual, known);
    const gap = next * lastGrowth > most ? most : next;
    const found = this.#enumerator.best(core, dual, gap, most, {
      labels: labelsPerList,
      expired: () => performance.now() > this.#options.deadline,
    });
    if (found.kind === 'gave-up') {
      if (performance.now() > this.#options.deadline) this.#open.add(node);
      else this.#branch(node);
      return;
    }
    if (found.pick) this.#offer(found.pick.map((column) => core.origin[column]!));
    if (!found.everything && gap < this.#gap(core, dual, this.#giveUp())) {
      node.bound = core.costShift + (dual.bound + gap - dual.rounding) / core.costScale;
      this.#open.add(node);
    }
  }

  #branch(node: Node): void {
    const { core, dual } = node;
    const gap = this.#gap(core, dual, this.#giveUp());
    const group = branchingGroup(core, dual);
    const start = core.start[group]!;
    const end = core.start[group + 1]!;
    const own = new Set(dual.picks.map((pick) => pick[group]!));
    if (own.size === end - start || own.size === 1) {
      own.clear();
      for (let j = start; j < end; j++) own.add(j);
    }
    const parts = [...own].map((column) => [column]);
    const others = Array.from({ length: end - start }, (_, k) => start + k).filter(
      (column) => !own.has(column),
    );
    if (others.length > 0) parts.push(others);
    for (const part of parts) {
      const keep = Uint8Array.from(dual.reduced, (r) => (r <= gap ? 1 : 0));
      keep.fill(0, start, end);
      for (const column of part) if (dual.reduced[column]! <= gap) keep[column] = 1;
      if (!keep.subarray(start, end).includes(1)) continue;
      const small = normalise(core, keep);
      const smallDual = solveDual(small);
      if (smallDual.bound === Infinity) continue;
      const child = this.#node(small, smallDual, node.bound);
      if (child.bound < this.#giveUp()) this.#open.add(child);
    }
  }
}

/**
 * The next gap to enumerate when none up to `known` holds a choice: where some groups may deviate from the dual's
 * choice, and further by a share, but at least to the next reduced cost, so that every enumeration sees something new.
 */
function nextGap({ groups, start }: Core, { reduced, rounding }: Dual, known: number): number {
  const second = new Float64Array(groups).fill(Infinity);
  let next = Infinity;
  for (let g = 0; g < groups; g++) {
    let least = Infinity;
    for (let j = start[g]!; j < start[g + 1]!; j++) {
      const r = reduced[j]!;
      if (r < least) [least, second[g]] = [r, least];
      else if (r < second[g]!) second[g] = r;
      if (r > known && r < next) next = r;
    }
  }
  second.sort();
  const gap = Math.max(known * gapGrowth, second[Math.min(groups, firstDeviations) - 1]!);
  return gap > known + 16 * rounding ? gap : Math.max(next, known + 16 * rounding) * gapGrowth;
}

/** The group in which the dual's choices differ most. */
function branchingGroup({ groups, start, cost }: Core, { picks, reduced }: Dual): number {
  let best = -1;
  let bestSpread = -1;
  for (let g = 0; g < groups; g++) {
    if (start[g + 1]! - start[g]! < 2) continue;
    let least = Infinity;
    let most = -Infinity;
    for (const pick of picks) {
      least = Math.min(least, cost[pick[g]!]!);
      most = Math.max(most, cost[pick[g]!]!);
    }
    // Groups in which all agree come last, the most contested first.
    let spread = most - least;
    if (spread === 0) {
      let second = Infinity;
      for (let j = start[g]!; j < start[g + 1]!; j++)
        if (j !== picks[0]![g]) second = Math.min(second, reduced[j]!);
      spread = -second;
    }
    if (best < 0 || spread > bestSpread) {
      best = g;
      bestSpread = spread;
    }
  }
  return best;
}
