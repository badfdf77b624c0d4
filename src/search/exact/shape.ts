/** Brings a problem into the exact solver's shape: groups without ties between them, and additive rows. */

import type { Choice, Problem } from '../problem.ts';
import { limitTolerance } from '../tolerance.ts';
import type { RawCore } from './core.ts';

export interface Shape {
  readonly raw: RawCore;
  /** What columns take of the resources without limits. */
  readonly free: readonly Float64Array[];
  /** Row of each resource, -1 where it has no limits. */
  readonly rowOf: readonly number[];
  /** The choice that columns (one per unit) mean. */
  toChoice(pick: ArrayLike<number>): number[];
  /** The columns of a choice; undefined when it breaks a forbidden, forced or equal choice. */
  toPick(choice: Choice): Int32Array | undefined;
}

/** Groups that are chosen together, and the joint alternatives they have: one position per member. */
interface Unit {
  readonly members: readonly number[];
  readonly options: readonly (readonly number[])[];
}

/** Joint alternatives of tied groups multiply; beyond this a general solver does better. */
const maximumOptions = 4096;
/** So do the duals of rows. */
const maximumRows = 24;

/**
 * The problem as a multiple-choice knapsack in several dimensions; `infeasible` when a group is left without
 * alternatives, undefined when the problem doesn't have this shape.
 *
 * Forbidden and forced choices drop columns. Groups bound by `equal` become one, and so do the groups of a layer when
 * layers are compared (`differ` by layer). `count` and `differ` then are rows: each column knows what it adds.
 */
export function toShape(problem: Problem): Shape | 'infeasible' | undefined {
  const units = toUnits(problem);
  if (!units) return undefined;
  if (units.some((unit) => unit.options.length === 0)) return 'infeasible';
  const sign = problem.objective.sense === 'minimise' ? 1 : -1;
  const start = new Int32Array(units.length + 1);
  units.forEach((unit, u) => (start[u + 1] = start[u]! + unit.options.length));

  const fill = (term: (group: number, alternative: number) => number): Float64Array => {
    const values = new Float64Array(start[units.length]!);
    let column = 0;
    for (const { members, options } of units) {
      for (const option of options) {
        let sum = term(members[0]!, option[0]!);
        for (let k = 1; k < members.length; k++) sum += term(members[k]!, option[k]!);
        values[column++] = sum;
      }
    }
    return values;
  };
  const { groups, resources } = problem;
  const weight: Float64Array[] = [];
  const lower: number[] = [];
  const upper: number[] = [];
  const addRow = (terms: Float64Array, least: number, most: number): number => {
    lower.push(least);
    upper.push(most);
    return weight.push(terms) - 1;
  };
  const uses = (r: number): Float64Array => fill((g, a) => groups[g]!.alternatives[a]!.uses[r]!);
  const rowOf = resources.map(({ fixed, ...limits }, r) => {
    if (limits.lower === undefined && limits.upper === undefined) return -1;
    // Half of what the recheck grants: rounding in the other half cannot make it refuse our answer.
    const slack = limitTolerance(problem, r) / 2;
    return addRow(
      uses(r),
      (limits.lower ?? -Infinity) - fixed - slack,
      (limits.upper ?? Infinity) - fixed + slack,
    );
  });
  for (const row of countingRows(problem, units, fill)) addRow(row.terms, row.least, row.most);
  if (weight.length > maximumRows) return undefined;
  const raw: RawCore = {
    start,
    cost: fill((g, a) => sign * groups[g]!.alternatives[a]!.score),
    weight,
    lower: Float64Array.from(lower),
    upper: Float64Array.from(upper),
  };
  return {
    raw,
    free: rowOf.flatMap((row, r) => (row < 0 ? [uses(r)] : [])),
    rowOf,
    toChoice(pick) {
      const choice = Array.from({ length: groups.length }, () => 0);
      units.forEach(({ members, options }, u) => {
        const option = options[pick[u]! - start[u]!]!;
        members.forEach((g, k) => (choice[g] = option[k]!));
      });
      return choice;
    },
    toPick(choice) {
      const pick = units.map(({ members, options }, u) => {
        const found = options.findIndex((option) => members.every((g, k) => option[k] === choice[g]));
        return found < 0 ? -1 : start[u]! + found;
      });
      return pick.includes(-1) ? undefined : Int32Array.from(pick);
    },
  };
}

function toUnits(problem: Problem): Unit[] | undefined {
  const { groups, constraints } = problem;
  const allowed = groups.map(({ alternatives }) => alternatives.map(() => true));
  for (const constraint of constraints) {
    if (constraint.kind === 'forbid') allowed[constraint.group]![constraint.alternative] = false;
    if (constraint.kind === 'force') {
      const own = allowed[constraint.group]!;
      for (let a = 0; a < own.length; a++) if (a !== constraint.alternative) own[a] = false;
    }
  }
  const ties = constraints.flatMap((constraint) => (constraint.kind === 'equal' ? [constraint.groups] : []));
  const layersTie = constraints.some(
    (constraint) => constraint.kind === 'differ' && constraint.unit === 'layer',
  );
  const units: Unit[] = [];
  for (const members of components(problem, ties, layersTie)) {
    let options = allowed[members[0]!]!.flatMap((yes, a) => (yes ? [[a]] : []));
    members.forEach((g, k) => {
      if (k === 0) return;
      const mates = ties
        .filter((tie) => tie.includes(g))
        .flatMap((tie) =>
          members.slice(0, k).flatMap((mate, m) => (tie.includes(mate) ? [{ mate, m }] : [])),
        );
      options = options.flatMap((option) =>
        groups[g]!.alternatives.flatMap(({ name }, a) =>
          allowed[g]![a] &&
          mates.every(({ mate, m }) => groups[mate]!.alternatives[option[m]!]!.name === name)
            ? [[...option, a]]
            : [],
        ),
      );
    });
    if (options.length > maximumOptions && members.length > 1) return undefined;
    units.push({ members, options });
  }
  return units;
}

/** Groups that share a tie, or a layer where layers tie, directly or through others. */
function components(
  { groups }: Problem,
  ties: readonly (readonly number[])[],
  layersTie: boolean,
): number[][] {
  const parent = groups.map((_, g) => g);
  const rootOf = (g: number): number => {
    let root = g;
    while (parent[root] !== root) root = parent[root] = parent[parent[root]!]!;
    return root;
  };
  for (const tie of ties) for (const g of tie) parent[rootOf(g)] = rootOf(tie[0]!);
  if (layersTie) {
    const firstOfLayer = new Map<number, number>();
    groups.forEach(({ layer }, g) => {
      if (!firstOfLayer.has(layer)) firstOfLayer.set(layer, g);
      parent[rootOf(g)] = rootOf(firstOfLayer.get(layer)!);
    });
  }
  const members = new Map<number, number[]>();
  groups.forEach((_, g) => {
    const root = rootOf(g);
    const own = members.get(root);
    if (own) own.push(g);
    else members.set(root, [g]);
  });
  return [...members.values()];
}

interface CountingRow {
  readonly terms: Float64Array;
  readonly least: number;
  readonly most: number;
}

/** Counts are whole: anything well below 1 only absorbs the rounding of scaled limits. */
const countSlack = 1e-9;

function countingRows(
  { groups, constraints }: Problem,
  units: readonly Unit[],
  fill: (term: (group: number, alternative: number) => number) => Float64Array,
): CountingRow[] {
  return constraints.flatMap((constraint): CountingRow[] => {
    if (constraint.kind !== 'count' && constraint.kind !== 'differ') return [];
    const { atLeast = 0, atMost } = constraint;
    if (atLeast === 0 && atMost === undefined) return [];
    const limits = {
      least: atLeast === 0 ? -Infinity : atLeast - countSlack,
      most: atMost === undefined ? Infinity : atMost + countSlack,
    };
    if (constraint.kind === 'count') {
      const layers = constraint.layers && new Set(constraint.layers);
      const counts = groups.map(({ layer, alternatives }) =>
        alternatives.map(({ tags }) =>
          (layers?.has(layer) ?? true) && tags?.includes(constraint.tag) ? 1 : 0,
        ),
      );
      return [{ terms: fill((g, a) => counts[g]![a]!), ...limits }];
    }
    const { from, unit } = constraint;
    if (unit !== 'layer') return [{ terms: fill((g, a) => (a === from[g] ? 0 : 1)), ...limits }];
    const terms = units.flatMap(({ members, options }) =>
      options.map((option) => {
        const differing = members.flatMap((g, k) => (option[k] === from[g] ? [] : [groups[g]!.layer]));
        return new Set(differing).size;
      }),
    );
    return [{ terms: Float64Array.from(terms), ...limits }];
  });
}
