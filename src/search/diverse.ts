/** Several good solutions that differ from one another. */

import type { Constraint, Differ, Problem, Solution, SolveOptions } from './problem.ts';
import { solve } from './solve.ts';

/**
 * Up to `count` solutions, each the best that differs from every earlier one in at least `minDifferent` layers (or
 * groups). Puzzle (arXiv 2411.19146, section 4) adds the same constraint as a greatest overlap. Ends early when nothing
 * that different fits, or a time limit leaves a search without a solution.
 */
export async function solveDiverse(
  problem: Problem,
  count: number,
  minDifferent: number,
  options: SolveOptions & { readonly unit?: Differ['unit'] } = {},
): Promise<Solution[]> {
  const { unit = 'layer', ...solveOptions } = options;
  const solutions: Solution[] = [];
  while (solutions.length < count) {
    const differences = solutions.map(({ choice }): Constraint => ({
      kind: 'differ',
      from: choice,
      atLeast: minDifferent,
      unit,
    }));
    const next = await solve(
      { ...problem, constraints: [...problem.constraints, ...differences] },
      solveOptions,
    );
    if (next.choice.length === 0) {
      if (solutions.length === 0) solutions.push(next);
      break;
    }
    solutions.push(next);
  }
  return solutions;
}
