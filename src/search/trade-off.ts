/** The exact Pareto front of any two of score and measures: every non-dominated point, other budgets fixed. */
import { PuzzleError } from '../util/errors.ts';
import type { Quantity } from '../util/units.ts';
import { minimiseResource } from './exchange-objective.ts';
import { solveFront } from './front.ts';
import type { Choice, SolveOptions } from './problem.ts';
import {
  findMeasure,
  measureValue,
  underLimits,
  type Limit,
  type Measure,
  type Scenario,
} from './scenario.ts';

/** `score`, or a measure. */
interface TradeOffAxis {
  readonly name: string;
  readonly quantity: Quantity;
  readonly measure?: Measure;
}

export interface TradeOff {
  readonly x: TradeOffAxis;
  readonly y: TradeOffAxis;
  /** Ascending x; no point is at least as good as another in both. */
  readonly points: readonly TradeOffPoint[];
  /** Whether these are all points there are, each proven; false where a time limit struck. */
  readonly complete: boolean;
  /** How much the sum that is optimised may miss the best by, see `Front.epsilon`; 0 unless there are too many points. */
  readonly epsilon: number;
}

interface TradeOffPoint {
  readonly x: number;
  readonly y: number;
  readonly choice: Choice;
}

/**
 * @param x `score` or a measure's name; its own budget, if any, bounds the front.
 * @param scoreLimit holds when neither axis is the score.
 * @throws PuzzleError `bad-usage` on an unknown axis or two axes that are the same sum.
 */
export async function tradeOff(
  scenario: Scenario,
  limits: readonly Limit[],
  { x, y, scoreLimit }: { readonly x: string; readonly y: string; readonly scoreLimit?: number },
  options: SolveOptions = {},
  progress: (points: number) => void = () => {},
): Promise<TradeOff> {
  const xAxis = axisOf(scenario, x);
  const yAxis = axisOf(scenario, y);
  const same = xAxis.measure?.resource === yAxis.measure?.resource;
  if (same) {
    throw new PuzzleError(
      'bad-usage',
      `${x} and ${y} ${x === y ? 'are the same' : 'come from the same sum'}`,
      {
        at: '--x, --y',
        value: [x, y],
        fix: `Trade two different ones of score, ${scenario.measures.map(({ name }) => name).join(', ')}.`,
      },
    );
  }
  // One axis becomes the objective, the other the resource that is tightened step by step.
  const [stepped, optimised] = xAxis.measure === undefined ? [yAxis, xAxis] : [xAxis, yAxis];
  const under = underLimits(scenario, limits);
  const problem =
    optimised.measure === undefined ? under : minimiseResource(under, optimised.measure.resource, scoreLimit);
  const resource = stepped.measure!.resource;
  const { points: solutions, complete, epsilon } = await solveFront(problem, resource, options, progress);
  const points = solutions.map(({ choice, value, totals }) => {
    const at = {
      stepped: measureValue(stepped.measure!, totals[resource]!),
      optimised: valueOn(optimised, value),
    };
    return stepped === xAxis
      ? { x: at.stepped, y: at.optimised, choice }
      : { x: at.optimised, y: at.stepped, choice };
  });
  return { x: xAxis, y: yAxis, points: points.sort((a, b) => a.x - b.x), complete, epsilon };
}

function axisOf(scenario: Scenario, name: string): TradeOffAxis {
  if (name === 'score') return { name: scenario.problem.objective.metric, quantity: 'score' };
  const measure = findMeasure(scenario, name);
  return { name, quantity: measure.quantity, measure };
}

const valueOn = ({ measure }: TradeOffAxis, value: number): number =>
  measure === undefined ? value : measureValue(measure, value);
