/** The same question under other budgets: a table of proven optima, and what changed from one to the next. */
import type { Choice, Solution, SolveOptions } from './problem.ts';
import { reportBudgets, type BudgetReport } from './budget-report.ts';
import { resolveBudgets, underLimits, type Budget, type Scenario } from './scenario.ts';
import { solve } from './solve.ts';

export interface WhatIfPoint {
  /** The varied budgets first, then the fixed ones. */
  readonly budgets: readonly Budget[];
  readonly solution: Solution;
  /** Empty when infeasible. */
  readonly reports: readonly BudgetReport[];
  /** Layers whose choice differs from the previous feasible point's. */
  readonly changedLayers: readonly number[];
}

/** A budget and the limits it takes. */
export interface Variation {
  readonly measure: string;
  readonly limits: readonly Budget['limit'][];
}

/**
 * Solves for every combination of the varied budgets, the last one varying fastest.
 *
 * @param fixed budgets that stay; one of a varied measure gives way.
 */
export async function whatIf(
  scenario: Scenario,
  vary: readonly Variation[],
  fixed: readonly Budget[] = [],
  options: SolveOptions = {},
  progress: (done: number, total: number) => void = () => {},
): Promise<WhatIfPoint[]> {
  const staying = fixed.filter(({ measure }) => vary.every((varied) => varied.measure !== measure));
  const grid = vary.reduce<readonly (readonly Budget[])[]>(
    (combinations, { measure, limits }) =>
      combinations.flatMap((combination) => limits.map((limit) => [...combination, { measure, limit }])),
    [[]],
  );
  const points: WhatIfPoint[] = [];
  let previous: Choice | undefined;
  for (const varied of grid) {
    const budgets = [...varied, ...staying];
    const limits = resolveBudgets(scenario, budgets);
    const solution = await solve(underLimits(scenario, limits), {
      ...options,
      ...(previous && { warmStart: previous }),
    });
    const feasible = solution.choice.length > 0;
    points.push({
      budgets,
      solution,
      reports: feasible ? await reportBudgets(scenario, limits, solution, options) : [],
      changedLayers: feasible && previous ? changedLayers(scenario, previous, solution.choice) : [],
    });
    if (feasible) previous = solution.choice;
    progress(points.length, grid.length);
  }
  return points;
}

/** Layers in which two choices differ, ascending. */
export function changedLayers({ problem }: Scenario, from: Choice, to: Choice): number[] {
  const layers = problem.groups.flatMap(({ layer }, g) => (from[g] === to[g] ? [] : [layer]));
  return [...new Set(layers)].sort((a, b) => a - b);
}
