/** What each budget does to a solution: used, binding, and its shadow price in the budget's own unit. */
import type { Problem, Solution, SolveOptions } from './problem.ts';
import { withUpper } from './exchange-objective.ts';
import { measureValue, underLimits, type Limit, type Scenario } from './scenario.ts';
import { solve } from './solve.ts';
import { objectiveTolerance } from './tolerance.ts';

export interface BudgetReport {
  readonly limit: Limit;
  /** The solution's value of the measure, in its base unit. */
  readonly used: number;
  /** Without this budget the proven best score would be better. */
  readonly binding: boolean;
  /**
   * Score that one more base unit of the budget buys, by the relaxation: >= 0, exact in the limit of many layers; 0
   * when the relaxation does not press on this budget. Undefined where the solver gives no duals.
   */
  readonly shadowPrice: number | undefined;
}

/** Reports on every budget of a solved problem; solves again once per bounded resource. */
export async function reportBudgets(
  scenario: Scenario,
  limits: readonly Limit[],
  solution: Solution,
  options: SolveOptions = {},
): Promise<BudgetReport[]> {
  const problem = underLimits(scenario, limits);
  const bindingResources = new Set<number>();
  for (const r of new Set(limits.map(({ measure }) => measure.resource))) {
    if (await bindsAt(problem, r, scenario.problem.resources[r]!.upper, solution, options))
      bindingResources.add(r);
  }
  return limits.map((limit) => {
    const { measure, value } = limit;
    const decisive = isTightest(problem, limit);
    const multiplier = solution.multipliers?.[measure.resource];
    return {
      limit,
      used: measureValue(measure, solution.totals[measure.resource]!),
      binding: decisive && bindingResources.has(measure.resource),
      shadowPrice:
        multiplier === undefined
          ? undefined
          : decisive
            ? Math.abs(multiplier) * totalPerUnit(measure, value)
            : 0,
    };
  });
}

async function bindsAt(
  problem: Problem,
  resource: number,
  ownUpper: number | undefined,
  solution: Solution,
  options: SolveOptions,
): Promise<boolean> {
  const without = await solve(withUpper(problem, resource, ownUpper), {
    ...options,
    warmStart: solution.choice,
  });
  return isBetter(problem, without.value, solution.value);
}

/** Whether this budget is the one that sets its resource's limit (latency and throughput share one). */
function isTightest(problem: Problem, { measure, value }: Limit): boolean {
  return measureValue(measure, value) <= problem.resources[measure.resource]!.upper!;
}

/** How much of the resource one more unit of the measure frees: 1, or for a rate W / t: |d total / d rate| = W / rate^2. */
function totalPerUnit(measure: Limit['measure'], value: number): number {
  return measure.tokens === undefined ? 1 : measureValue(measure, value) / value;
}

/** Whether score `a` is truly better than `b`, beyond rounding. */
export function isBetter({ objective }: Problem, a: number, b: number): boolean {
  const gain = objective.sense === 'minimise' ? b - a : a - b;
  return gain > objectiveTolerance * Math.max(Math.abs(a), Math.abs(b));
}
