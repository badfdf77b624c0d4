/** One door to every solver: validates, picks, solves, rechecks. */

import type { Problem, SolveOptions, Solution, SolverName } from './problem.ts';
import type { Answer } from './solvers/answer.ts';
import { relativeGap } from './tolerance.ts';
import { validate } from './validate.ts';
import { verify } from './verify.ts';

/**
 * Solves a problem.
 *
 * @throws PuzzleError `bad-problem` when it isn't one (see `validate`). Infeasible is an answer, not an error.
 */
export async function solve(problem: Problem, options: SolveOptions = {}): Promise<Solution> {
  validate(problem);
  const start = performance.now();
  const { solveHighs } = await import('./solvers/highs.ts');
  return recheck(problem, await solveHighs(problem, options), 'highs', performance.now() - start);
}

/** Turns an answer into a solution whose every number is computed from the problem. */
function recheck(problem: Problem, answer: Answer, solver: SolverName, milliseconds: number): Solution {
  const worst = problem.objective.sense === 'minimise' ? Infinity : -Infinity;
  const { nodes } = answer;
  const common = { solver, nodes, milliseconds };
  if (answer.kind === 'infeasible') {
    return { status: 'infeasible', choice: [], value: worst, bound: worst, gap: 0, totals: [], ...common };
  }
  if (answer.kind === 'unknown') {
    return {
      status: 'unknown',
      choice: [],
      value: worst,
      bound: answer.bound,
      gap: Infinity,
      totals: [],
      ...common,
    };
  }
  const { choice, proven, bound, multipliers } = answer;
  const { value, totals, violations } = verify(problem, choice);
  if (violations.length > 0)
    throw new Error(`${solver} returned a choice that fails the recheck: ${violations[0]}`);
  return {
    status: proven ? 'optimal' : 'feasible',
    choice,
    value,
    bound: proven ? value : bound,
    gap: proven ? 0 : relativeGap(value, bound),
    totals,
    ...common,
    ...(multipliers && { multipliers }),
  };
}
