/** `puzzle search --library FILE`: the search alone, over a block library in the public JSON format. */
import { writeFileAtomically } from '../../util/atomic-file.ts';
import {
  batchDocuments,
  explainInfeasibility,
  infeasibleError,
  reportBudgets,
  resolveBudgets,
  searchResultDocument,
  solve,
  solveDiverse,
  sweepBatches,
  toProblemFile,
  underLimits,
  type BatchSweep,
  type Limit,
  type Scenario,
  type Solution,
  type SolveOptions,
  type SolverName,
} from '../../search/index.ts';
import { PuzzleError } from '../../util/errors.ts';
import { batchesFrom, renderBatches } from '../batches.ts';
import type { CommandContext } from '../command.ts';
import { wholeNumber } from '../options.ts';
import { renderSearchResult } from '../render-result.ts';
import {
  allBudgets,
  loadSource,
  solveOptionsOf,
  type ScenarioArguments,
  type Source,
} from '../scenario-source.ts';

interface LibrarySearchArguments extends Omit<ScenarioArguments, 'batch'> {
  /** `64`, or several batches; then `{batch}` in the library's name stands for each. */
  readonly batch?: string | undefined;
  readonly solver?: SolverName | 'auto' | undefined;
  readonly timeLimit?: string | undefined;
  /** How many architectures. */
  readonly solutions: number;
  /** Layers in which each differs from every earlier one at least. */
  readonly minDifferent: number;
  /** Where to write problem.json, if anywhere. */
  readonly saveProblem?: string | undefined;
}

/** Options that only the search has. */
export const searchOptions = {
  batch: {
    type: 'string',
    describe:
      'Requests served together: 64, 16,64,256, 1..64, or best; of several, the best score is kept, then throughput (with --library: batch of its runtimes, {batch} in its name stands for each)',
  },
  solutions: { type: 'number', default: 1, describe: 'How many different architectures to find, best first' },
  'min-different': {
    type: 'number',
    default: 1,
    describe: 'Layers in which each differs from every earlier one',
  },
  'save-problem': { type: 'string', describe: 'Also write the search problem to this JSON file' },
} as const;

/** Searches the library and prints the result. Throws `infeasible` with the nearest feasible budgets. */
export async function searchLibrary(args: LibrarySearchArguments, { print }: CommandContext): Promise<void> {
  const options = solveOptionsOf(args);
  const { source, sweep } = await sourceAtBestBatch(args, options);
  const { scenario, inputs } = source;
  const limits = resolveBudgets(scenario, allBudgets(source));
  const budgets = limits.map(({ measure, value }) => ({ measure: measure.name, limit: value }));
  if (args.saveProblem !== undefined)
    await writeFileAtomically(args.saveProblem, `${JSON.stringify(toProblemFile(scenario, budgets))}\n`);
  const solutions = await solutionsFor(scenario, limits, args, options);
  const reports = await reportBudgets(scenario, limits, solutions[0]!, options);
  const document = {
    ...searchResultDocument(scenario, solutions, reports),
    ...(sweep && { batches: batchDocuments(sweep) }),
    source: inputs,
  };
  print(document, () =>
    [
      renderSearchResult(scenario, solutions, reports),
      ...(sweep ? [renderBatches(scenario, sweep)] : []),
    ].join('\n\n'),
  );
}

/** The library at the one batch asked for, or of several at the best; the first where nothing fits at any. */
async function sourceAtBestBatch(
  args: LibrarySearchArguments,
  options: SolveOptions,
): Promise<{ readonly source: Source; readonly sweep?: BatchSweep }> {
  const batches = batchesFrom(args.batch);
  const { batch: _, ...rest } = args;
  if (batches === undefined) return { source: await loadSource(rest) };
  if (batches.length === 1) return { source: await loadSource({ ...rest, ...at(args, batches[0]!) }) };
  if (args.library?.includes(batchMark) !== true) {
    throw new PuzzleError('bad-usage', 'the runtimes of a block library hold for one batch', {
      at: '--batch',
      value: args.batch,
      fix: `Give one batch, or a library per batch with ${batchMark} in its name: --library library-${batchMark}.json.`,
    });
  }
  const sources = new Map<number, Source>();
  for (const batch of batches) sources.set(batch, await loadSource({ ...rest, ...at(args, batch) }));
  const budgets = allBudgets(sources.get(batches[0]!)!);
  const sweep = await sweepBatches(batches, (batch) => sources.get(batch)!.scenario, budgets, options);
  return { source: sources.get(sweep.best?.batch ?? batches[0]!)!, sweep };
}

const batchMark = '{batch}';

const at = (
  { library }: LibrarySearchArguments,
  batch: number,
): Pick<ScenarioArguments, 'library' | 'batch'> => ({
  library: library?.replaceAll(batchMark, String(batch)),
  batch,
});

async function solutionsFor(
  scenario: Scenario,
  limits: readonly Limit[],
  args: LibrarySearchArguments,
  options: SolveOptions,
): Promise<readonly Solution[]> {
  const problem = underLimits(scenario, limits);
  const { solutions, minDifferent } = diversityOf(args, problem);
  const found =
    solutions === 1
      ? [await solve(problem, options)]
      : await solveDiverse(problem, solutions, minDifferent, options);
  await requireChoice(scenario, limits, found[0], options);
  return found;
}

/** @throws PuzzleError `bad-usage` on counts that no problem of these layers can have */
export function diversityOf(
  { solutions, minDifferent }: Pick<LibrarySearchArguments, 'solutions' | 'minDifferent'>,
  { groups }: { readonly groups: readonly { readonly layer: number }[] },
): { readonly solutions: number; readonly minDifferent: number } {
  const layers = new Set(groups.map(({ layer }) => layer)).size;
  return {
    solutions: wholeNumber(solutions, 'solutions', 1, 1000),
    minDifferent: wholeNumber(minDifferent, 'min-different', 1, layers),
  };
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
