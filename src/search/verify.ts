/** The recheck: objective, totals and violations of a choice, computed from the problem's own words, not a solver's. */

import type { Choice, Constraint, Problem } from './problem.ts';
import { limitTolerance } from './tolerance.ts';

export interface Check {
  readonly value: number;
  /** Per resource, with its fixed part. */
  readonly totals: readonly number[];
  /** What the choice breaks, in words; empty when it satisfies the problem. */
  readonly violations: readonly string[];
}

/** Recomputes a choice. `choice` has one valid alternative per group. */
export function verify(problem: Problem, choice: Choice): Check {
  return verifier(problem)(choice);
}

/** `verify` for many choices of one problem. */
export function verifier(problem: Problem): (choice: Choice) => Check {
  const tolerances = problem.resources.map((_, r) => limitTolerance(problem, r));
  return (choice) => {
    const chosen = problem.groups.map((group, g) => group.alternatives[choice[g]!]!);
    const value = chosen.reduce((sum, alternative) => sum + alternative.score, problem.objective.fixed ?? 0);
    const totals = problem.resources.map((resource, r) =>
      chosen.reduce((sum, alternative) => sum + alternative.uses[r]!, resource.fixed),
    );
    const violations: string[] = [];
    problem.resources.forEach(({ name, lower = -Infinity, upper = Infinity }, r) => {
      const total = totals[r]!;
      if (total > upper + tolerances[r]!) violations.push(`${name} is ${total}, more than ${upper}`);
      if (total < lower - tolerances[r]!) violations.push(`${name} is ${total}, less than ${lower}`);
    });
    problem.constraints.forEach((constraint, c) => {
      if (!holds(problem, constraint, choice))
        violations.push(`constraint ${c} (${constraint.kind}) does not hold`);
    });
    return { value, totals, violations };
  };
}

function holds(problem: Problem, constraint: Constraint, choice: Choice): boolean {
  switch (constraint.kind) {
    case 'forbid':
      return choice[constraint.group] !== constraint.alternative;
    case 'force':
      return choice[constraint.group] === constraint.alternative;
    case 'differ':
      return within(distance(problem, choice, constraint.from, constraint.unit), constraint);
    case 'count': {
      const layers = constraint.layers && new Set(constraint.layers);
      const counted = problem.groups.filter(
        (group, g) =>
          (layers?.has(group.layer) ?? true) &&
          group.alternatives[choice[g]!]!.tags?.includes(constraint.tag),
      );
      return within(counted.length, constraint);
    }
    default: // equal
      return (
        new Set(constraint.groups.map((g) => problem.groups[g]!.alternatives[choice[g]!]!.name)).size <= 1
      );
  }
}

function within(count: number, limits: { readonly atLeast?: number; readonly atMost?: number }): boolean {
  return count >= (limits.atLeast ?? 0) && count <= (limits.atMost ?? Infinity);
}

/** In how many groups, or layers, two choices differ. */
export function distance(problem: Problem, a: Choice, b: Choice, unit: 'group' | 'layer' = 'group'): number {
  const differing = problem.groups.flatMap((group, g) =>
    a[g] === b[g] ? [] : [unit === 'layer' ? group.layer : g],
  );
  return new Set(differing).size;
}

/** Whether these are positions of alternatives, one per group. */
export function isChoice({ groups }: Problem, choice: Choice): boolean {
  return choice.length === groups.length && choice.every((a, g) => groups[g]!.alternatives[a] !== undefined);
}
