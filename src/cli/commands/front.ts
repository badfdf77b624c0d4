/** `puzzle front`: every architecture that no other beats in both of two things, as JSON, CSV, SVG and terminal plot. */
import {
  costsOf,
  layersOf,
  resolveBudgets,
  svgPlot,
  terminalPlot,
  tradeOff,
  type Budget,
  type Scenario,
  type TradeOff,
} from '../../search/index.ts';
import { writeFileAtomically } from '../../util/atomic-file.ts';
import { PuzzleError } from '../../util/errors.ts';
import { csv } from '../../util/text-table.ts';
import { formatAmount, formatNumber, parseAmount, resolveAmount } from '../../util/units.ts';
import { defineCommand } from '../command.ts';
import {
  loadSource,
  measureOfFlag,
  scenarioOptions,
  solveOptionsOf,
  type Source,
} from '../scenario-source.ts';

export const frontCommand = defineCommand({
  command: 'front [result]',
  describe:
    'The exact Pareto front of two of score, memory, latency, throughput, params; other budgets fixed',
  options: (yargs) =>
    yargs
      .positional('result', { type: 'string', describe: 'Results folder, problem.json or search result' })
      .options(scenarioOptions)
      .option('x', {
        type: 'string',
        default: 'memory',
        describe: 'score, memory, latency, throughput or params',
      })
      .option('y', { type: 'string', default: 'score', describe: 'The other one' })
      .option('score', { type: 'string', describe: 'Score to keep, when neither axis is the score' })
      .option('layers', {
        type: 'boolean',
        default: false,
        describe: 'With --json: the layers of every point',
      })
      .option('csv', { type: 'string', describe: 'Also write the points to this CSV file' })
      .option('svg', { type: 'string', describe: 'Also draw the front into this SVG file' }),
  run: async (args, { print }) => {
    const source = await loadSource(args);
    const { scenario } = source;
    const [x, y] = [measureOfFlag(args.x), measureOfFlag(args.y)];
    const limits = resolveBudgets(scenario, budgetsBeside(source, [x, y]));
    const scoreLimit =
      args.score === undefined ? undefined : resolveAmount(parseAmount(args.score, 'score', '--score'), 1);
    const front = await tradeOff(
      scenario,
      limits,
      { x, y, ...(scoreLimit !== undefined && { scoreLimit }) },
      solveOptionsOf(args),
    );
    if (front.points.length === 0 && !front.complete) {
      throw new PuzzleError('bad-usage', 'The time limit struck before any point of the front was found.', {
        at: '--time-limit',
        fix: 'Give it more time.',
      });
    }
    if (front.points.length === 0) {
      throw new PuzzleError('infeasible', 'No architecture fits the budgets.', {
        fix: 'Run `puzzle explain` with the same budgets to see which one to relax.',
      });
    }
    if (args.csv !== undefined) await writeFileAtomically(args.csv, frontCsv(scenario, front));
    if (args.svg !== undefined)
      await writeFileAtomically(args.svg, svgPlot(front.points, { title: titleOf(front), ...front }));
    print(frontDocument(scenario, front, args.layers), () => renderFront(front));
  },
});

/** Budgets of the axes are dropped where they are only remembered, and kept where a flag gives them. */
function budgetsBeside(
  { scenario, savedBudgets, givenBudgets }: Source,
  axes: readonly string[],
): readonly Budget[] {
  const resourceOf = (name: string): number | undefined =>
    scenario.measures.find((measure) => measure.name === name)?.resource;
  const resources = new Set(axes.map(resourceOf));
  const given = new Set(givenBudgets.map(({ measure }) => measure));
  const saved = savedBudgets.filter(
    ({ measure }) => !given.has(measure) && !resources.has(resourceOf(measure)),
  );
  return [...saved, ...givenBudgets];
}

const titleOf = ({ x, y, points }: TradeOff): string =>
  `${y.name} against ${x.name}: ${points.length} points`;

const unitOf = { bytes: 'B', duration: 'ms', rate: 'tok/s', count: null, score: null } as const;

function frontDocument(
  scenario: Scenario,
  { x, y, points, complete, epsilon }: TradeOff,
  withLayers: boolean,
): Record<string, unknown> {
  return {
    schema: 'puzzle/front@1',
    metric: scenario.problem.objective.metric,
    x: { name: x.name, unit: unitOf[x.quantity] },
    y: { name: y.name, unit: unitOf[y.quantity] },
    /** Every non-dominated point, each proven; else each missing one has a point here that is worse by epsilon at most. */
    exact: complete && epsilon === 0,
    epsilon: complete ? epsilon : null,
    points: points.map((point) => ({
      x: point.x,
      y: point.y,
      costs: costsOf(scenario, point.choice),
      ...(withLayers && { layers: layersOf(scenario, point.choice) }),
    })),
  };
}

function frontCsv(scenario: Scenario, { x, y, points }: TradeOff): string {
  const header = [`x: ${x.name}`, `y: ${y.name}`, ...Object.keys(costsOf(scenario, scenario.teacher))];
  return csv([
    header,
    ...points.map((point) => [point.x, point.y, ...Object.values(costsOf(scenario, point.choice))]),
  ]);
}

function extent({ complete, epsilon }: TradeOff): string {
  if (!complete) return 'stopped by the time limit: a part of the front';
  return epsilon === 0
    ? 'all there are, each proven'
    : `proven: any other is at most ${formatNumber(epsilon)} better than one of these`;
}

const show = (value: number, { quantity }: TradeOff['x']): string =>
  quantity === 'score' ? formatNumber(value) : formatAmount(value, quantity);

function renderFront(front: TradeOff): string {
  const { x, y, points } = front;
  const ends = [points[0]!, points.at(-1)!].map(
    (point) => `${x.name} ${show(point.x, x)}: ${y.name} ${show(point.y, y)}`,
  );
  return [
    terminalPlot(points, front),
    '',
    `${points.length} points, ${extent(front)}; from ${ends.join(' to ')}.`,
  ].join('\n');
}
