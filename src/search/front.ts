/** The exact Pareto front of objective and one resource. */

import { dynamicFront } from './exact/dynamic-front.ts';
import { undominated } from './exact/dominance.ts';
import { toShape, type Shape } from './exact/shape.ts';
import { slabFront } from './exact/slab-front.ts';
import { minimiseResource, withUpper } from './exchange-objective.ts';
import type { Choice, Problem, SolveOptions } from './problem.ts';
import { solve } from './solve.ts';
import { limitTolerance, objectiveTolerance } from './tolerance.ts';
import { validate } from './validate.ts';
import { verifier } from './verify.ts';

interface FrontPoint {
  readonly choice: Choice;
  readonly value: number;
  /** Per resource, with its fixed part. */
  readonly totals: readonly number[];
}

export interface Front {
  /** Best objective, and most of the resource, first; none is as good as another in both. */
  readonly points: readonly FrontPoint[];
  /** False when a time limit struck. */
  readonly complete: boolean;
  /**
   * 0: these are all non-dominated points. Otherwise there were too many, and each that is missing has a point here
   * with no more of the resource and an objective worse by at most this.
   */
  readonly epsilon: number;
}

/**
 * Every choice within the limits that no other beats in objective and in the total of `resource` (the less the better).
 * Dynamic programs find them where the problem has the exact solver's shape; else it is solved again and again.
 *
 * @throws PuzzleError `bad-problem`.
 */
export async function solveFront(
  problem: Problem,
  resource: number,
  options: SolveOptions = {},
  progress: (points: number) => void = () => {},
): Promise<Front> {
  validate(problem);
  const { solver = 'auto', timeLimitMs = Infinity } = options;
  const useOwn = solver === 'auto' || solver === 'exact';
  // A dominated partial choice may be needed to reach a lower limit, so the resource may only be limited from above.
  const shape =
    useOwn && problem.resources[resource]!.lower === undefined
      ? toShape(withUpper(problem, resource, problem.resources[resource]!.upper ?? Number.MAX_VALUE))
      : undefined;
  if (shape === 'infeasible') return { points: [], complete: true, epsilon: 0 };
  if (!shape) return frontBySolving(problem, resource, options, progress);
  const deadline = performance.now() + timeLimitMs;
  const own = ownFront(shape, resource, deadline, progress);
  if (!own) {
    const left = { ...options, timeLimitMs: Math.max(0, deadline - performance.now()) };
    return frontBySolving(problem, resource, left, progress);
  }
  const { picks, complete, epsilon } = own;
  const check = verifier(problem);
  const points = picks.map((pick): FrontPoint => {
    const choice = shape.toChoice(pick);
    const { value, totals, violations } = check(choice);
    if (violations.length > 0) throw new Error(`a point of the front fails the recheck: ${violations[0]}`);
    return { choice, value, totals };
  });
  progress(points.length);
  return { points: distinct(problem, points, resource), complete, epsilon };
}

/** With nothing else limited one dynamic program, else slab by slab; undefined where the slabs are too dense for that. */
function ownFront(
  { raw, free, rowOf }: Shape,
  resource: number,
  deadline: number,
  progress: (points: number) => void,
): { picks: readonly Int32Array[]; complete: boolean; epsilon: number } | undefined {
  if (raw.weight.length === 1) return dynamicFront(raw, deadline);
  const { picks, end } = slabFront(raw, rowOf[resource]!, undominated(raw, free), deadline, progress);
  return end === 'too-dense' ? undefined : { picks, complete: end === 'complete', epsilon: 0 };
}

/** Drops points that only rounding tells from the one with less of the resource. */
function distinct({ objective }: Problem, points: readonly FrontPoint[], resource: number): FrontPoint[] {
  const sign = objective.sense === 'minimise' ? 1 : -1;
  const kept: FrontPoint[] = [];
  for (const point of points.toReversed()) {
    const last = kept.at(-1);
    const gain = last ? sign * (last.value - point.value) : Infinity;
    if (
      gain > roundingShare * Math.abs(point.value) &&
      (!last || point.totals[resource]! > last.totals[resource]!)
    ) {
      kept.push(point);
    }
  }
  return kept.reverse();
}

/** Far above the rounding of sums over groups, far below what scores are measured to. */
const roundingShare = 1e-13;

/**
 * The epsilon-constraint method (Haimes, Lasdon & Wismer, 1971): the best objective, then the least resource for it,
 * then the best with less than that, until nothing fits. Works for every problem that a solver takes; two solves a point.
 */
async function frontBySolving(
  problem: Problem,
  resource: number,
  options: SolveOptions,
  progress: (points: number) => void,
): Promise<Front> {
  const points: FrontPoint[] = [];
  const check = verifier(problem);
  const step = 4 * limitTolerance(problem, resource);
  const { timeLimitMs } = options;
  const deadline = performance.now() + (timeLimitMs ?? Infinity);
  // The limit is for the whole front; each solve gets what is left of it.
  const remaining = (): SolveOptions =>
    timeLimitMs === undefined ? options : { ...options, timeLimitMs: deadline - performance.now() };
  for (let limited = problem; ;) {
    if (performance.now() >= deadline) return { points, complete: false, epsilon: 0 };
    const best = await solve(limited, remaining());
    if (best.choice.length === 0) return { points, complete: best.status === 'infeasible', epsilon: 0 };
    const slack = objectiveTolerance * Math.abs(best.value);
    const scoreLimit = problem.objective.sense === 'minimise' ? best.value + slack : best.value - slack;
    const least = await solve(minimiseResource(limited, resource, scoreLimit), {
      ...remaining(),
      warmStart: best.choice,
    });
    const choice = least.choice.length > 0 ? least.choice : best.choice;
    const { value, totals } = check(choice);
    points.push({ choice, value, totals });
    progress(points.length);
    if (best.status !== 'optimal' || least.status !== 'optimal')
      return { points, complete: false, epsilon: 0 };
    const next = totals[resource]! - step;
    if ((problem.resources[resource]!.lower ?? -Infinity) > next)
      return { points, complete: true, epsilon: 0 };
    limited = withUpper(problem, resource, next);
  }
}
