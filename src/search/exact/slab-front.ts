/** All non-dominated pairs of cost and weight of a problem with several rows, slab by slab of the weight. */

import { branchAndBound } from './branch-and-bound.ts';
import { normalise, type RawCore } from './core.ts';
import { solveDual } from './dual.ts';
import { Enumerator } from './enumerate.ts';

interface SlabFront {
  /** Columns per group of each point, in order of falling weight and rising cost; some may be dominated. */
  readonly picks: readonly Int32Array[];
  /** `late`: the time limit struck, the lighter points are missing; `too-dense`: even a thin slab holds too much. */
  readonly end: 'complete' | 'late' | 'too-dense';
}

/** A slab that needs longer lists than this is made thinner. */
const labelsPerList = 8_000;
/** Where lists stay shorter than this the next slab is thicker. */
const idleLabels = 1_000;
/** The first slab's share of the weights' range, and the least one. */
const firstShare = 1 / 256;
const leastShare = 2 ** -36;
/** Rounding of the sums, relative to the greatest: half of what the recheck grants. */
const slackShare = 5e-13;
const closingTolerance = 1e-10;

/**
 * The points of the front between two weights cost at most what the best choice at the lower weight costs, and at least
 * the dual bound at the upper one. Where the slab is thin that gap is small, and an enumeration sees every choice in it
 * (see `Enumerator`): all its points for the price of one exact solution and a little more.
 *
 * @param axis the row that is traded against cost; it has no lower limit.
 * @param keep 1 per column worth considering.
 */
export function slabFront(
  raw: RawCore,
  axis: number,
  keep: Uint8Array,
  deadline: number,
  progress: (points: number) => void,
): SlabFront {
  const enumerator = new Enumerator();
  const expired = (): boolean => performance.now() > deadline;
  const weight = raw.weight[axis]!;
  const { range, most, magnitude } = extent(raw.start, weight);
  const slack = slackShare * magnitude;
  const cheapest = (problem: RawCore): ReturnType<typeof branchAndBound> =>
    branchAndBound(problem, { keep, deadline, closeEnough: (cost) => closingTolerance * Math.abs(cost) });

  const totalOf = (pick: Int32Array): number => pick.reduce((sum, column) => sum + weight[column]!, 0);

  const first = cheapest(below(raw, axis, Math.min(raw.upper[axis]!, most + slack)));
  if (expired()) return { picks: [], end: 'late' };
  if (!first.pick) return { picks: [], end: 'complete' };
  let top = totalOf(first.pick) + slack;
  const lightest = cheapest({ ...below(raw, axis, top), cost: weight });
  if (expired() || !lightest.pick) return { picks: [], end: 'late' };
  const least = lightest.cost + slack;
  const picks: Int32Array[] = [];
  for (let height = firstShare * range; ;) {
    const bottom = Math.max(least, top - height);
    const floor = cheapest(below(raw, axis, bottom));
    if (expired()) return { picks, end: 'late' };
    if (!floor.pick) return { picks, end: 'too-dense' };
    const core = normalise(below(raw, axis, top), keep);
    const dual = solveDual(core);
    const gap = (floor.cost - core.costShift) * core.costScale - dual.bound + 2 * dual.rounding;
    const lowest = core.upper[axis]! - (top - bottom + 2 * slack) * core.rowScale[axis]!;
    const found = enumerator.front(
      core,
      dual,
      gap,
      { row: axis, lowest },
      { labels: labelsPerList, expired },
    );
    if (!found) {
      if (expired()) return { picks, end: 'late' };
      height /= 4;
      if (height < leastShare * range) return { picks, end: 'too-dense' };
      continue;
    }
    for (const pick of found.picks) picks.push(pick.map((column) => core.origin[column]!));
    progress(picks.length);
    if (bottom <= least) return { picks, end: 'complete' };
    // Whatever lies between the best choice there and the slab's lower end costs as much and weighs more.
    top = totalOf(floor.pick) + slack;
    if (found.labels < idleLabels) height *= 2;
  }
}

const below = (raw: RawCore, row: number, limit: number): RawCore => ({
  ...raw,
  upper: raw.upper.with(row, limit),
});

/** Over all choices: the span of a row's totals, the greatest of them, and the greatest sum of magnitudes. */
function extent(
  start: Int32Array,
  weight: Float64Array,
): { readonly range: number; readonly most: number; readonly magnitude: number } {
  let [range, most, magnitude] = [0, 0, 0];
  for (let g = 0; g + 1 < start.length; g++) {
    const own = weight.subarray(start[g], start[g + 1]);
    const greatest = own.reduce((a, b) => Math.max(a, b));
    const smallest = own.reduce((a, b) => Math.min(a, b));
    range += greatest - smallest;
    most += greatest;
    magnitude += Math.max(Math.abs(greatest), Math.abs(smallest));
  }
  return { range, most, magnitude };
}
