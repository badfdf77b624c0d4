/** The exact solver behind the common interface. */

import type { Choice, Problem, SolveOptions } from '../problem.ts';
import type { Answer } from '../solvers/answer.ts';
import { objectiveTolerance } from '../tolerance.ts';
import { isChoice, verify } from '../verify.ts';
import { branchAndBound } from './branch-and-bound.ts';
import { undominated } from './dominance.ts';
import { toShape } from './shape.ts';

/** A tenth of what counts as the same objective: the search ends when no choice can be better by more. */
const closingTolerance = objectiveTolerance / 10;

/** The answer, or undefined when the problem doesn't have the solver's shape. */
export function answerExactly(problem: Problem, options: SolveOptions): Answer | undefined {
  const shape = toShape(problem);
  if (shape === undefined) return undefined;
  if (shape === 'infeasible') return { kind: 'infeasible', nodes: 0 };
  const deadline = performance.now() + (options.timeLimitMs ?? Infinity);
  const sign = problem.objective.sense === 'minimise' ? 1 : -1;
  const fixed = problem.objective.fixed ?? 0;
  const toValue = (cost: number): number => sign * cost + fixed;
  const start =
    options.warmStart && keeps(problem, options.warmStart) ? shape.toPick(options.warmStart) : undefined;
  // What is given up lies that far off exactly; a gap stated afterwards must not come out larger for rounding.
  const relativeGap = Math.max(closingTolerance, options.gap ?? 0) * (1 - 2 ** -40);
  const result = branchAndBound(shape.raw, {
    keep: undominated(shape.raw, shape.free),
    deadline,
    closeEnough: (cost) => relativeGap * Math.abs(toValue(cost)),
    ...(start && { start }),
  });
  const { nodes, cost, bound, pick } = result;
  if (!pick) {
    return bound === Infinity
      ? { kind: 'infeasible', nodes }
      : { kind: 'unknown', bound: toValue(bound), nodes };
  }
  const proven = cost - bound <= objectiveTolerance * Math.abs(toValue(cost));
  return {
    kind: 'found',
    choice: shape.toChoice(pick),
    proven,
    bound: toValue(bound),
    nodes,
    // A price per unit of use lowers the minimised cost when the limit grows by one.
    multipliers: shape.rowOf.map((row) => (row < 0 ? 0 : 0 - sign * result.price[row]!)),
  };
}

function keeps(problem: Problem, choice: Choice): boolean {
  return isChoice(problem, choice) && verify(problem, choice).violations.length === 0;
}
