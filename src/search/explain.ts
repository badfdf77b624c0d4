/** Why this architecture: what each budget costs, what each layer's runner-up costs, what each demand costs. */
import { unitFor, type Quantity } from '../util/units.ts';
import type { Choice, Problem, Solution, SolveOptions } from './problem.ts';
import { reportBudgets, type BudgetReport } from './budget-report.ts';
import { lagrangianBound } from './relaxation.ts';
import { measureValue, underLimits, type Limit, type Scenario } from './scenario.ts';
import { solve } from './solve.ts';

export interface Explanation {
  readonly solution: Solution;
  readonly budgets: readonly BudgetReport[];
  /** One for each budget that limits its resource, binding or not. */
  readonly exchanges: readonly Exchange[];
  /** Per group. */
  readonly reasons: readonly Reason[];
  readonly prices: readonly ConstraintPrice[];
}

/** What a handy piece of a budget is worth, found by solving again on either side. */
interface Exchange {
  readonly limit: Limit;
  /** In the measure's base unit, about a hundredth of the limit and round in the unit people use. */
  readonly step: number;
  /** Score gained when the budget is loosened by `step`, exactly (when both solves are proven). */
  readonly gain: number;
  /** No more than this can be gained, by the shadow price and one pass over the problem; undefined without duals. */
  readonly gainAtMost: number | undefined;
  /** Score lost when the budget is tightened by `step`; undefined when nothing fits then. */
  readonly loss: number | undefined;
}

/** Why a group has its choice: the best architecture that has anything else there. */
export interface Reason {
  readonly group: number;
  readonly chosen: number;
  /** Undefined when no other choice fits the budgets and constraints. */
  readonly runnerUp:
    | {
        readonly alternative: number;
        /** How much worse the best architecture without `chosen` scores; 0 is a tie. */
        readonly regret: number;
        /** Groups that have to change with it. */
        readonly alsoChanges: readonly number[];
        readonly choice: Choice;
      }
    | undefined;
}

/** What a demand of the user costs: the score that could be had without it. */
interface ConstraintPrice {
  /** Positions in `problem.constraints`: forbidden and forced choices of one group are priced together. */
  readonly constraints: readonly number[];
  readonly price: number;
}

export type Progress = (done: number, total: number) => void;

/**
 * Explains the solution of a scenario under budgets by solving its neighbours: exact, about a solve per group.
 *
 * @param solution what `solve` gave for `underLimits(scenario, limits)`; it must have a choice.
 */
export async function explain(
  scenario: Scenario,
  limits: readonly Limit[],
  solution: Solution,
  options: SolveOptions = {},
  progress: Progress = () => {},
): Promise<Explanation> {
  const problem = underLimits(scenario, limits);
  const budgets = await reportBudgets(scenario, limits, solution, options);
  const exchanges: Exchange[] = [];
  for (const limit of limits) {
    const sets =
      measureValue(limit.measure, limit.value) === problem.resources[limit.measure.resource]!.upper;
    if (sets) exchanges.push(await exchange(scenario, limits, limit, solution, options));
  }
  const reasons: Reason[] = [];
  for (const group of problem.groups.keys()) {
    reasons.push(await runnerUp(problem, solution, group, options));
    progress(reasons.length, problem.groups.length);
  }
  return {
    solution,
    budgets,
    exchanges,
    reasons,
    prices: await constraintPrices(problem, solution, options),
  };
}

/** The best solution that does not have `solution`'s choice in a group. */
export async function runnerUp(
  problem: Problem,
  solution: Solution,
  group: number,
  options: SolveOptions = {},
): Promise<Reason> {
  const chosen = solution.choice[group]!;
  const other = await solve(
    { ...problem, constraints: [...problem.constraints, { kind: 'forbid', group, alternative: chosen }] },
    options,
  );
  const { choice } = other;
  if (choice.length === 0) return { group, chosen, runnerUp: undefined };
  const alsoChanges = [...choice.keys()].filter((g) => g !== group && choice[g] !== solution.choice[g]);
  const regret = Math.max(0, worsening(problem, solution.value, other.value));
  return { group, chosen, runnerUp: { alternative: choice[group]!, regret, alsoChanges, choice } };
}

async function exchange(
  scenario: Scenario,
  limits: readonly Limit[],
  limit: Limit,
  solution: Solution,
  options: SolveOptions,
): Promise<Exchange> {
  const { measure, value } = limit;
  const step = handyStep(value, measure.quantity);
  const looser = measure.tokens === undefined ? value + step : value - step;
  const tighter = measure.tokens === undefined ? value - step : value + step;
  const at = (moved: number): Problem => {
    const others = limits.map((other) => (other === limit ? { measure, value: moved } : other));
    return underLimits(scenario, others);
  };
  const problem = at(looser);
  const more = await solve(problem, { ...options, warmStart: solution.choice });
  const less = await solve(at(tighter), options);
  const { multipliers } = solution;
  return {
    limit,
    step,
    gain: Math.max(0, worsening(problem, more.value, solution.value)),
    gainAtMost: multipliers && worsening(problem, lagrangianBound(problem, multipliers), solution.value),
    loss: less.choice.length === 0 ? undefined : Math.max(0, worsening(problem, solution.value, less.value)),
  };
}

/** About a hundredth of a value, as 1, 2 or 5 times a power of ten of the unit people use: 80 GiB gives 1 GiB. */
function handyStep(value: number, quantity: Quantity): number {
  const { scale } = unitFor(value, quantity);
  const hundredth = value / scale / 100;
  const power = 10 ** Math.floor(Math.log10(hundredth));
  const digit = [1, 2, 5, 10].find((d) => hundredth / power < d * 1.5) ?? 10;
  return digit * power * scale;
}

async function constraintPrices(
  problem: Problem,
  solution: Solution,
  options: SolveOptions,
): Promise<ConstraintPrice[]> {
  const bundles = bundleConstraints(problem);
  const prices: ConstraintPrice[] = [];
  for (const constraints of bundles) {
    const without = await solve(
      { ...problem, constraints: problem.constraints.filter((_, c) => !constraints.includes(c)) },
      { ...options, warmStart: solution.choice },
    );
    prices.push({ constraints, price: Math.max(0, worsening(problem, without.value, solution.value)) });
  }
  return prices;
}

/** Positions of constraints, those that forbid or force in one group together. */
export function bundleConstraints({ constraints }: Problem): number[][] {
  const byPlace = new Map<string, number[]>();
  constraints.forEach((constraint, c) => {
    const local = constraint.kind === 'forbid' || constraint.kind === 'force';
    const place = local ? `group ${constraint.group}` : `constraint ${c}`;
    byPlace.set(place, [...(byPlace.get(place) ?? []), c]);
  });
  return [...byPlace.values()];
}

/** By how much `after` is a worse objective than `before`. */
export function worsening({ objective }: Pick<Problem, 'objective'>, before: number, after: number): number {
  return objective.sense === 'minimise' ? after - before : before - after;
}
