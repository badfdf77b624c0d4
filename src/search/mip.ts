/** The problem as a mixed-integer program over 0/1 columns: what the general solvers take. */

import type { Choice, Constraint, Differ, Problem } from './problem.ts';
import { limitTolerance } from './tolerance.ts';

export interface Mip {
  /** To be minimised; scaled by a power of two, shifted per group so that the least is 0. */
  readonly cost: Float64Array;
  /** 0 where a choice is forbidden, else 1. */
  readonly columnUpper: Float64Array;
  readonly rows: readonly Row[];
  /** Column of alternative 0 of each group; further columns are auxiliary. */
  readonly firstColumn: readonly number[];
  /** The objective value in the user's terms of a (bound on the) minimised cost. */
  toValue(cost: number): number;
}

/** lower <= sum of values[k] * column[columns[k]] <= upper */
export interface Row {
  readonly columns: readonly number[];
  readonly values: readonly number[];
  readonly lower: number;
  readonly upper: number;
}

/** Largest coefficient after scaling. The solvers' absolute tolerances (1e-9) are then 1e-12 of it, see tolerance.ts. */
const coefficientScale = 1024;

/** What is left of differences that rounding swamps; GLPK's scaling fails on such numbers. */
const negligible = 1e-12;

/** x_gj = 1 when group g takes alternative j, x_g1 + x_g2 + ... = 1 (Puzzle, arXiv 2411.19146, section 4). */
export function toMip(problem: Problem): Mip {
  const { groups, resources, objective, constraints } = problem;
  const firstColumn: number[] = [];
  let columns = 0;
  for (const group of groups) {
    firstColumn.push(columns);
    columns += group.alternatives.length;
  }
  const everyColumn = Array.from({ length: columns }, (_, column) => column);
  const sign = objective.sense === 'minimise' ? 1 : -1;
  const score = scaleTerms(
    groups.map((group) => group.alternatives.map((alternative) => sign * alternative.score)),
  );

  const builder = new RowBuilder(problem, firstColumn, columns);
  for (const [g, group] of groups.entries()) {
    const own = group.alternatives.map((_, a) => firstColumn[g]! + a);
    builder.add({ columns: own, values: own.map(() => 1), lower: 1, upper: 1 });
  }
  for (const [r, { fixed, lower = -Infinity, upper = Infinity }] of resources.entries()) {
    if (lower === -Infinity && upper === Infinity) continue;
    const uses = scaleTerms(
      groups.map((group) => group.alternatives.map((alternative) => alternative.uses[r]!)),
    );
    // As in the exact solver, half of the slack that the recheck grants. Sums of shifted terms lie in [0, most].
    const slack = limitTolerance(problem, r) / 2;
    const scaledLower = (lower - slack - fixed - uses.shift) * uses.scale;
    const scaledUpper = (upper + slack - fixed - uses.shift) * uses.scale;
    if (scaledLower <= 0 && scaledUpper >= uses.most) continue;
    builder.add({
      columns: everyColumn,
      values: uses.terms,
      lower: scaledLower <= 0 ? -Infinity : Math.min(scaledLower, 2 * uses.most + 1),
      upper: scaledUpper >= uses.most ? Infinity : Math.max(scaledUpper, -1),
    });
  }
  for (const constraint of constraints) builder.addConstraint(constraint);

  const cost = new Float64Array(builder.columns);
  cost.set(score.terms);
  const columnUpper = new Float64Array(builder.columns).fill(1);
  for (const column of builder.forbidden) columnUpper[column] = 0;
  const toValue = (least: number): number =>
    sign * (least / score.scale + score.shift) + (objective.fixed ?? 0);
  return { cost, columnUpper, rows: builder.rows, firstColumn, toValue };
}

/** The 0/1 column values of a choice, auxiliary columns left 0. */
export function toColumns(mip: Mip, choice: Choice): Float64Array {
  const values = new Float64Array(mip.cost.length);
  choice.forEach((alternative, g) => (values[mip.firstColumn[g]! + alternative] = 1));
  return values;
}

/** The choice that column values state: the largest column of each group, whatever the solver's rounding. */
export function toChoice(problem: Problem, mip: Mip, values: ArrayLike<number>): number[] {
  return problem.groups.map((group, g) => {
    const own = group.alternatives.map((_, a) => values[mip.firstColumn[g]! + a]!);
    return own.indexOf(Math.max(...own));
  });
}

interface ScaledTerms {
  readonly terms: readonly number[];
  /** The least sum of the terms as they were. */
  readonly shift: number;
  readonly scale: number;
  /** The greatest sum of the scaled terms; the least is 0. */
  readonly most: number;
}

/** Shifts each group to a least term of 0 and scales by a power of two, both without rounding that matters. */
function scaleTerms(table: readonly (readonly number[])[]): ScaledTerms {
  const least = table.map((row) => Math.min(...row));
  const shifted = table.map((row, g) => row.map((term) => term - least[g]!));
  const greatest = shifted.map((row) => Math.max(...row));
  const largest = Math.max(...greatest);
  // The clamp keeps the scale finite where all differences are denormal.
  const scale = largest === 0 ? 1 : 2 ** Math.min(1000, Math.round(Math.log2(coefficientScale / largest)));
  const sum = (values: readonly number[]): number => values.reduce((total, value) => total + value, 0);
  return {
    terms: shifted.flat().map((term) => (term * scale < negligible ? 0 : term * scale)),
    shift: sum(least),
    scale,
    most: sum(greatest) * scale,
  };
}

class RowBuilder {
  readonly rows: Row[] = [];
  readonly forbidden: number[] = [];
  columns: number;
  readonly #problem: Problem;
  readonly #firstColumn: readonly number[];

  constructor(problem: Problem, firstColumn: readonly number[], columns: number) {
    this.#problem = problem;
    this.#firstColumn = firstColumn;
    this.columns = columns;
  }

  add(row: Row): void {
    this.rows.push(row);
  }

  addConstraint(constraint: Constraint): void {
    const { groups } = this.#problem;
    switch (constraint.kind) {
      case 'forbid':
        this.forbidden.push(this.#column(constraint.group, constraint.alternative));
        return;
      case 'force':
        groups[constraint.group]!.alternatives.forEach((_, a) => {
          if (a !== constraint.alternative) this.forbidden.push(this.#column(constraint.group, a));
        });
        return;
      case 'count': {
        const columns = groups.flatMap((group, g) =>
          constraint.layers && !constraint.layers.includes(group.layer)
            ? []
            : group.alternatives.flatMap(({ tags }, a) =>
                tags?.includes(constraint.tag) ? [this.#column(g, a)] : [],
              ),
        );
        this.#addSum(columns, constraint.atLeast ?? 0, constraint.atMost ?? Infinity);
        return;
      }
      case 'differ':
        this.#addDiffer(constraint);
        return;
      case 'equal':
        this.#addEqual(constraint.groups);
    }
  }

  #column(group: number, alternative: number): number {
    return this.#firstColumn[group]! + alternative;
  }

  #addSum(columns: readonly number[], lower: number, upper: number): void {
    this.add({ columns, values: columns.map(() => 1), lower, upper });
  }

  #addDiffer({ from, atLeast = 0, atMost = Infinity, unit }: Differ): void {
    const same = from.map((alternative, g) => this.#column(g, alternative));
    if (unit !== 'layer') {
      this.#addSum(same, same.length - atMost, same.length - atLeast);
      return;
    }
    // One auxiliary column d per layer, 1 if the layer differs: d <= sum (1 - x), and d >= 1 - x for each of its groups.
    const layers = new Set(this.#problem.groups.map((group) => group.layer));
    const differs = [...layers].map((layer) => {
      const own = same.filter((_, g) => this.#problem.groups[g]!.layer === layer);
      const d = this.columns++;
      this.add({
        columns: [...own, d],
        values: [...own.map(() => 1), 1],
        lower: -Infinity,
        upper: own.length,
      });
      for (const x of own) this.add({ columns: [x, d], values: [1, 1], lower: 1, upper: Infinity });
      return d;
    });
    this.#addSum(differs, atLeast, atMost);
  }

  #addEqual(equal: readonly number[]): void {
    const byName = equal.map(
      (g) => new Map(this.#problem.groups[g]!.alternatives.map(({ name }, a) => [name, this.#column(g, a)])),
    );
    const [first, ...others] = byName;
    for (const other of others) {
      for (const name of new Set([...first!.keys(), ...other.keys()])) {
        const [a, b] = [first!.get(name), other.get(name)];
        if (a === undefined || b === undefined) this.forbidden.push((a ?? b)!);
        else if (a !== b) this.add({ columns: [a, b], values: [1, -1], lower: 0, upper: 0 });
      }
    }
  }
}
