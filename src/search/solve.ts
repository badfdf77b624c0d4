/** One door to every solver: validates, picks, solves, rechecks. */

import { PuzzleError } from '../util/errors.ts';
import { answerExactly } from './exact/solve-exact.ts';
import type { Problem, SolveOptions, Solution, SolverName } from './problem.ts';
import type { Answer } from './solvers/answer.ts';
import { relativeGap } from './tolerance.ts';
import { validate } from './validate.ts';
import { isChoice, verify } from './verify.ts';

/**
 * Solves a problem with the solver asked for; `auto` takes the exact one where the problem has its shape, else HiGHS.
 *
 * @throws PuzzleError `bad-problem` when it isn't one (see `validate`), `bad-usage` when `exact` is asked for and the
 *   problem doesn't have its shape. Infeasible is an answer, not an error.
 */
export async function solve(problem: Problem, options: SolveOptions = {}): Promise<Solution> {
  validate(problem);
  const start = performance.now();
  const { solver = 'auto' } = options;
  if (solver === 'auto' || solver === 'exact') {
    const answer = answerExactly(problem, options);
    if (answer) return recheck(problem, answer, 'exact', performance.now() - start);
  }
  if (solver === 'exact') throw shapeError();
  const general = solver === 'auto' ? 'highs' : solver;
  const warmStart = options.warmStart && isChoice(problem, options.warmStart) ? options.warmStart : undefined;
  const { warmStart: _, ...rest } = options;
  const answer = await generalSolvers[general](problem, { ...rest, ...(warmStart && { warmStart }) });
  return recheck(problem, answer, general, performance.now() - start);
}

/**
 * The exact solver alone, without waiting: what interactive use calls.
 *
 * @throws PuzzleError as `solve` with `solver: 'exact'`.
 */
export function solveExact(problem: Problem, options: Omit<SolveOptions, 'solver'> = {}): Solution {
  validate(problem);
  const start = performance.now();
  const answer = answerExactly(problem, options);
  if (!answer) throw shapeError();
  return recheck(problem, answer, 'exact', performance.now() - start);
}

/** Loaded when first used: none is needed where the exact solver does. */
const generalSolvers = {
  highs: async (problem: Problem, options: SolveOptions): Promise<Answer> =>
    (await import('./solvers/highs.ts')).solveHighs(problem, options),
  glpk: async (problem: Problem, options: SolveOptions): Promise<Answer> =>
    (await import('./solvers/glpk.ts')).solveGlpk(problem, options),
  'javascript-lp-solver': async (problem: Problem, options: SolveOptions): Promise<Answer> =>
    (await import('./solvers/javascript-lp-solver.ts')).solveJavascript(problem, options),
};

function shapeError(): PuzzleError {
  return new PuzzleError('bad-usage', 'the constraints tie too many groups together for the exact solver', {
    at: 'solver',
    value: 'exact',
    fix: 'Use --solver auto or highs.',
  });
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
