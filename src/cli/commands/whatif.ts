/** `puzzle whatif`: the proven optimum for every budget of a grid, or the least of a resource for a score. */
import {
  architectureDocument,
  budgetDocument,
  changedLayers,
  cheapest,
  findMeasure,
  measureValue,
  resolveBudgets,
  solve,
  teacherValue,
  underLimits,
  whatIf,
  type Scenario,
  type SolveOptions,
  type Variation,
  type WhatIfPoint,
} from '../../search/index.ts';
import { PuzzleError } from '../../util/errors.ts';
import { textTable } from '../../util/text-table.ts';
import { formatAmount, formatNumber, parseAmount, parseRange, resolveAmount } from '../../util/units.ts';
import { defineCommand, type CommandContext } from '../command.ts';
import { renderSearchResult, renderShadowPrice } from '../render-result.ts';
import {
  allBudgets,
  loadSource,
  measureOfFlag,
  scenarioOptions,
  solveOptionsOf,
  type Source,
} from '../scenario-source.ts';

export const whatIfCommand = defineCommand({
  command: 'whatif [result]',
  describe: 'Solve again for a grid of budgets, or find the cheapest architecture for a score',
  options: (yargs) =>
    yargs
      .positional('result', { type: 'string', describe: 'Results folder, problem.json or search result' })
      .options(scenarioOptions)
      .option('vary', {
        type: 'string',
        describe: 'memory=40%..100%:25 (from, to, points); several with commas make a grid',
      })
      .option('cheapest', {
        type: 'string',
        describe: 'memory, latency, throughput or params: its best value for --score',
      })
      .option('score', { type: 'string', describe: 'With --cheapest: the score to reach, such as 0.1' }),
  run: async (args, context) => {
    const source = await loadSource(args);
    const options = solveOptionsOf(args);
    if (args.cheapest !== undefined) {
      await findCheapest(source, measureOfFlag(args.cheapest), args.score, options, context);
      return;
    }
    if (args.vary === undefined) {
      throw new PuzzleError('bad-usage', 'nothing to vary', {
        fix: 'Give --vary memory=40%..100%:25, or --cheapest memory --score 0.1.',
      });
    }
    const { scenario } = source;
    const vary = args.vary.split(',').map((text) => variation(scenario, text));
    const stage = 'What if';
    const total = vary.reduce((product, { limits }) => product * limits.length, 1);
    context.report({ kind: 'stage-started', stage, total, unit: 'budgets' });
    const points = await whatIf(scenario, vary, allBudgets(source), options, (done) =>
      context.report({ kind: 'advanced', stage, done }),
    );
    context.report({ kind: 'stage-finished', stage });
    context.print(whatIfDocument(scenario, points), () => renderPoints(scenario, points));
  },
});

function variation(scenario: Scenario, text: string): Variation {
  const [name, range] = text.split('=');
  if (name === undefined || range === undefined) {
    throw new PuzzleError('bad-usage', `--vary ${text}: no range`, {
      at: '--vary',
      value: text,
      fix: 'Write it like memory=40%..100%:25.',
    });
  }
  const { name: measure, quantity } = findMeasure(scenario, measureOfFlag(name.trim()));
  return { measure, limits: parseRange(range, quantity, `--vary ${measure}`) };
}

function whatIfDocument(scenario: Scenario, points: readonly WhatIfPoint[]): Record<string, unknown> {
  return {
    schema: 'puzzle/whatif@1',
    metric: scenario.problem.objective.metric,
    points: points.map(({ budgets, solution, reports, changedLayers }) => {
      const feasible = solution.choice.length > 0;
      return {
        status: solution.status,
        ...(feasible
          ? architectureDocument(scenario, solution)
          : { objective: null, costs: null, layers: null }),
        budgets: feasible
          ? reports.map(budgetDocument)
          : resolveBudgets(scenario, budgets).map(({ measure, value }) => ({
              name: measure.name,
              limit: value,
            })),
        changedLayers,
        solver: { name: solution.solver, milliseconds: solution.milliseconds, nodes: solution.nodes },
      };
    }),
  };
}

function renderPoints(scenario: Scenario, points: readonly WhatIfPoint[]): string {
  const { metric } = scenario.problem.objective;
  const rows = points.map(({ budgets, solution, reports, changedLayers }) => {
    const shown = resolveBudgets(scenario, budgets).map(({ measure, value }) =>
      formatAmount(value, measure.quantity),
    );
    if (solution.choice.length === 0) return [...shown, solution.status, '-', '', ''];
    const binding = reports.filter((report) => report.binding);
    return [
      ...shown,
      `${formatNumber(solution.value)}${solution.status === 'optimal' ? '' : ` (gap ${formatNumber(solution.gap * 100)} %)`}`,
      binding.map(({ limit }) => limit.measure.name).join(', ') || '-',
      binding.map((report) => renderShadowPrice(report, metric)).join(', '),
      String(changedLayers.length),
    ];
  });
  const names = points[0]?.budgets.map(({ measure }) => measure) ?? [];
  return textTable([[...names, metric, 'binding', 'shadow price', 'layers changed'], ...rows]);
}

async function findCheapest(
  source: Source,
  name: string,
  score: string | undefined,
  options: SolveOptions,
  { print }: CommandContext,
): Promise<void> {
  const { scenario } = source;
  if (score === undefined) {
    throw new PuzzleError('bad-usage', '--cheapest needs --score', {
      at: '--cheapest',
      fix: 'Give --score 0.1.',
    });
  }
  const scoreLimit = resolveAmount(parseAmount(score, 'score', '--score'), 1);
  const measure = findMeasure(scenario, name);
  const budgets = allBudgets(source).filter(
    ({ measure: other }) => findMeasure(scenario, other).resource !== measure.resource,
  );
  const problem = underLimits(scenario, resolveBudgets(scenario, budgets));
  const { least, best } = await cheapest(problem, measure.resource, scoreLimit, options);
  const { metric, sense } = problem.objective;
  if (least.choice.length === 0) {
    const reachable = await solve(problem, options);
    throw new PuzzleError('infeasible', `No architecture reaches ${metric} ${score}.`, {
      at: '--score',
      value: score,
      fix: `The best within the other budgets is ${metric} ${formatNumber(reachable.value)}.`,
      details: {
        metric,
        wanted: scoreLimit,
        nearest: Number.isFinite(reachable.value) ? reachable.value : null,
      },
    });
  }
  const value = measureValue(measure, least.value);
  print(
    {
      schema: 'puzzle/cheapest@1',
      status: least.status,
      measure: { name: measure.name, value, bound: measureValue(measure, least.bound) },
      score: { metric, limit: scoreLimit, value: best.value },
      ...architectureDocument(scenario, best),
      changedFromTeacher: changedLayers(scenario, scenario.teacher, best.choice),
      solver: {
        name: least.solver,
        milliseconds: least.milliseconds + best.milliseconds,
        nodes: least.nodes + best.nodes,
      },
    },
    () => {
      const share = formatNumber((100 * value) / teacherValue(scenario, measure));
      const relation = sense === 'minimise' ? '<=' : '>=';
      return [
        `${metric} ${relation} ${score} needs ${measure.name} ${formatAmount(value, measure.quantity)} (${share} % of the teacher)${least.status === 'optimal' ? ', proven' : ''}.`,
        renderSearchResult(scenario, [best], []),
      ].join('\n\n');
    },
  );
}
