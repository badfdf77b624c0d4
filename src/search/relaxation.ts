/** A proof anyone can check: multipliers turn budgets into prices, and no choice beats the priced optimum. */
import type { Problem } from './problem.ts';

/**
 * The Lagrangian bound (Fisher, "The Lagrangian Relaxation Method", 1981): pay for each resource at its multiplier,
 * let every group take its best alternative at these prices. One pass over the problem, valid for any multipliers of
 * the right sign, and for every limit: no choice within the limits has a better objective. Constraints other than
 * forbidden and forced choices are left out, which can only make the bound weaker.
 *
 * @param multipliers as in `Solution.multipliers`: derivative of the objective with respect to the binding limit.
 */
export function lagrangianBound(problem: Problem, multipliers: readonly number[]): number {
  const { groups, resources, objective, constraints } = problem;
  const best = objective.sense === 'minimise' ? Math.min : Math.max;
  const sign = objective.sense === 'minimise' ? 1 : -1;
  const payments = resources.map(({ fixed, lower, upper }, r) => {
    const multiplier = multipliers[r]!;
    if (multiplier === 0) return 0;
    // An upper limit's price falls with the limit when minimising; a price of the other sign is of the lower limit.
    const limit = sign * multiplier < 0 ? upper : lower;
    return limit === undefined ? sign * -Infinity : multiplier * (limit - fixed);
  });
  const allowed = (g: number, a: number): boolean =>
    constraints.every(
      (constraint) =>
        (constraint.kind !== 'forbid' && constraint.kind !== 'force') ||
        constraint.group !== g ||
        (constraint.kind === 'force') === (constraint.alternative === a),
    );
  const choices = groups.map(({ alternatives }, g) =>
    best(
      ...alternatives.flatMap(({ score, uses }, a) =>
        allowed(g, a) ? [uses.reduce((sum, use, r) => sum - multipliers[r]! * use, score)] : [],
      ),
    ),
  );
  return [...payments, ...choices].reduce((sum, term) => sum + term, objective.fixed ?? 0);
}
