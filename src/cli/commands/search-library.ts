/** `puzzle search --library FILE`: the search alone, over a block library in the public JSON format. */
import { writeFileAtomically } from '../../util/atomic-file.ts';
import {
  explainInfeasibility,
  infeasibleError,
  reportBudgets,
  resolveBudgets,
  searchResultDocument,
  solve,
  solveDiverse,
  toProblemFile,
  underLimits,
  type Limit,
  type Scenario,
  type Solution,
  type SolveOptions,
  type SolverName,
} from '../../search/index.ts';
import { PuzzleError } from '../../util/errors.ts';
import type { CommandContext } from '../command.ts';
import { wholeNumber } from '../options.ts';
import { renderSearchResult } from '../render-result.ts';
import { allBudgets, loadSource, solveOptionsOf, type ScenarioArguments } from '../scenario-source.ts';

interface LibrarySearchArguments extends ScenarioArguments {
  readonly solver?: SolverName | 'auto' | undefined;
  readonly timeLimit?: string | undefined;
  /** How many architectures; 1 if absent. */
  readonly solutions?: number | undefined;
  /** Layers in which each differs from every earlier one at least; 1 if absent. */
  readonly minDifferent?: number | undefined;
  /** Where to write problem.json, if anywhere. */
  readonly saveProblem?: string | undefined;
}

/** Options that only the search has. */
export const librarySearchOptions = {
  solutions: { type: 'number', default: 1, describe: 'How many different architectures to find, best first' },
  'min-different': {
    type: 'number',
    default: 1,
    describe: 'Layers in which each differs from every earlier one',
  },
  'save-problem': {
    type: 'string',
    describe: 'With --library: also write the search problem to this JSON file',
  },
} as const;

/** Searches the library and prints the result. Throws `infeasible` with the nearest feasible budgets. */
export async function searchLibrary(args: LibrarySearchArguments, { print }: CommandContext): Promise<void> {
  const source = await loadSource(args);
  const { scenario, inputs } = source;
  const limits = resolveBudgets(scenario, allBudgets(source));
  const options = solveOptionsOf(args);
  if (args.saveProblem !== undefined) {
    const budgets = limits.map(({ measure, value }) => ({ measure: measure.name, limit: value }));
    await writeFileAtomically(args.saveProblem, `${JSON.stringify(toProblemFile(scenario, budgets))}\n`);
  }
  const solutions = await solutionsFor(scenario, limits, args, options);
  const reports = await reportBudgets(scenario, limits, solutions[0]!, options);
  print({ ...searchResultDocument(scenario, solutions, reports), source: inputs }, () =>
    renderSearchResult(scenario, solutions, reports),
  );
}

async function solutionsFor(
  scenario: Scenario,
  limits: readonly Limit[],
  { solutions = 1, minDifferent = 1 }: LibrarySearchArguments,
  options: SolveOptions,
): Promise<readonly Solution[]> {
  const problem = underLimits(scenario, limits);
  const count = wholeNumber(solutions, 'solutions', 1, 1000);
  const layers = new Set(problem.groups.map(({ layer }) => layer)).size;
  const atLeast = wholeNumber(minDifferent, 'min-different', 1, layers);
  const found =
    count === 1 ? [await solve(problem, options)] : await solveDiverse(problem, count, atLeast, options);
  await requireChoice(scenario, limits, found[0], options);
  return found;
}

/** Throws `infeasible`, or `bad-usage` where the time limit struck before anything was found. */
export async function requireChoice(
  scenario: Scenario,
  limits: readonly Limit[],
  solution: Solution | undefined,
  options: SolveOptions,
): Promise<void> {
  if (solution !== undefined && solution.choice.length > 0) return;
  if (solution?.status === 'unknown') {
    throw new PuzzleError('bad-usage', 'The time limit struck before any architecture was found.', {
      at: '--time-limit',
      fix: 'Give it more time.',
    });
  }
  throw infeasibleError(scenario, limits, await explainInfeasibility(scenario, limits, options));
}
