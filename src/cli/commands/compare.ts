/** `puzzle compare`: the search against greedy, max-parameters, no-op only, uniform and random, at equal budgets. */
import {
  compareBaselines,
  costsOf,
  layersOf,
  measureValue,
  resolveBudgets,
  solve,
  underLimits,
  type Baseline,
  type Scenario,
  type Solution,
} from '../../search/index.ts';
import { textTable } from '../../util/text-table.ts';
import { formatAmount, formatNumber } from '../../util/units.ts';
import { defineCommand } from '../command.ts';
import { wholeNumber } from '../options.ts';
import { allBudgets, loadSource, scenarioOptions, solveOptionsOf } from '../scenario-source.ts';
import { requireChoice } from './search-library.ts';

export const compareCommand = defineCommand({
  command: 'compare [result]',
  describe: 'Compare the searched architecture with what simpler methods choose under the same budgets',
  options: (yargs) =>
    yargs
      .positional('result', { type: 'string', describe: 'Results folder, problem.json or search result' })
      .options(scenarioOptions)
      .option('seed', { type: 'number', default: 0, describe: 'Of the random architectures' }),
  run: async (args, { print }) => {
    const source = await loadSource(args);
    const { scenario } = source;
    const limits = resolveBudgets(scenario, allBudgets(source));
    const options = solveOptionsOf(args);
    const solution = await solve(underLimits(scenario, limits), options);
    await requireChoice(scenario, limits, solution, options);
    const baselines = await compareBaselines(scenario, limits, {
      ...options,
      seed: wholeNumber(args.seed, 'seed', 0),
    });
    print(comparisonDocument(scenario, solution, baselines), () =>
      renderComparison(scenario, solution, baselines),
    );
  },
});

function comparisonDocument(
  scenario: Scenario,
  solution: Solution,
  baselines: readonly Baseline[],
): Record<string, unknown> {
  return {
    schema: 'puzzle/comparison@1',
    metric: scenario.problem.objective.metric,
    searched: {
      status: solution.status,
      value: solution.value,
      costs: costsOf(scenario, solution.choice),
      layers: layersOf(scenario, solution.choice),
    },
    baselines: baselines.map(({ name, choice, reason, value }) =>
      choice === undefined
        ? { name, fits: false, reason }
        : { name, fits: true, value, costs: costsOf(scenario, choice), layers: layersOf(scenario, choice) },
    ),
  };
}

function renderComparison(scenario: Scenario, solution: Solution, baselines: readonly Baseline[]): string {
  const { problem, measures } = scenario;
  const rows = [
    { name: 'searched', choice: solution.choice, value: solution.value, totals: solution.totals },
    ...baselines,
  ];
  return textTable([
    ['', problem.objective.metric, 'of searched', ...measures.map(({ name }) => name)],
    ...rows.map((row) =>
      row.choice === undefined
        ? [row.name, `nothing fits: ${'reason' in row ? row.reason : ''}`]
        : [
            row.name,
            formatNumber(row.value),
            solution.value === 0 ? '-' : `${formatNumber(row.value / solution.value)}x`,
            ...measures.map((measure) =>
              formatAmount(measureValue(measure, row.totals[measure.resource]!), measure.quantity),
            ),
          ],
    ),
  ]);
}
