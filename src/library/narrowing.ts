/** Which part of a teacher's features stays when a block keeps fewer of them, and the output matrix refitted on it. */
import {
  addProduct,
  block,
  cholesky,
  copy,
  inverse,
  matrix,
  select,
  solveLower,
  stack,
  transpose,
  type Matrix,
} from '../algebra/index.ts';
import type { FeatureGrid } from '../blocks/index.ts';
import { PuzzleError } from '../util/errors.ts';
import { eliminate, type Kept } from './elimination.ts';
import { damped, leastSquaresOn } from './least-squares.ts';

/**
 * How parts are ranked, from the least to the most aware of each other: `contribution` is the paper's
 * mean |h_i| * ||W[:, i]||; `iterative-contribution` drops, again and again, what moves the output least together with
 * all that is gone already; `elimination` does so with the output matrix refitted after every step.
 */
export const rankings = ['contribution', 'iterative-contribution', 'elimination'] as const;
export type Ranking = (typeof rankings)[number];

/** A linear map of features, and what is known of them. */
export interface FeatureMap {
  readonly grid: FeatureGrid;
  /** W0 (outputs, features). */
  readonly map: Matrix;
  /** L^T W0, where outputs count in a metric L L^T: what decides which channels stay. */
  readonly judged?: Matrix;
  /** sum h h^T (features, features). */
  readonly gram: Matrix;
  /** Mean |h_i| * ||W0[:, i]||. */
  readonly contributions: Float64Array;
}

/**
 * The channels of every part asked for, and the map refitted on them: min_W tr((W - W0) A (W - W0)^T) with A the
 * damped Gram matrix and W zero outside the part. Damping pulls towards the teacher's own map, not towards zero.
 */
export function narrow(
  ranking: Ranking,
  features: FeatureMap,
  parts: readonly FeatureGrid[],
): readonly Kept[] {
  const { grid, map, judged, gram } = features;
  const { matrix: a, factor } = damped(gram);
  if (ranking === 'elimination') {
    const inverted = inverse(factor);
    if (grid.groups > 1 || grid.channels > 1) return nestedHeads(features, inverted, parts);
    // Single channels: the same steps, many at a time.
    const widths = parts.map(({ members }) => members);
    const { kept } = eliminate(inverted, map, widths, judged);
    return widths.map((width) => kept.get(width)!);
  }
  const b = matrix(map.rows, map.columns); // W0 A
  addProduct(b, map, a);
  const found =
    ranking === 'contribution'
      ? walk(grid, parts, byContribution(features))
      : walk(grid, parts, byOutputChange(features));
  return found.map(({ channels }) => ({ channels, map: leastSquaresOn(a, b, channels) }));
}

/** What decides which channels go next. States are immutable: the walk branches. */
interface Criterion<State> {
  readonly start: State;
  cost(state: State, channels: readonly number[]): number;
  drop(state: State, channels: readonly number[]): State;
}

interface Reached<State> {
  /** What is left, ascending. */
  readonly channels: readonly number[];
  readonly state: State;
}

/**
 * Goes down from the whole grid, always dropping what costs least: members one by one, evenly over the groups; and at
 * each number of members, as a branch, whole groups one by one. So parts nest along both.
 */
function walk<State>(
  { groups, members, channels }: FeatureGrid,
  parts: readonly FeatureGrid[],
  { start, cost, drop: dropped }: Criterion<State>,
): readonly Reached<State>[] {
  const found = new Map<FeatureGrid, Reached<State>>();
  let state = start;
  let grid = range(groups).map((group) =>
    range(members).map((member) => range(channels).map((i) => (group * members + member) * channels + i)),
  );
  const fewest = Math.min(...parts.map((part) => part.members));
  for (let left = members; left >= fewest; left--) {
    if (left < members) [grid, state] = dropMembers(grid, state, left);
    const row = parts.filter((part) => part.members === left);
    let [rest, branch] = [grid, state];
    for (let count = groups; count >= Math.min(...row.map((part) => part.groups)); count--) {
      if (count < groups) {
        const gone = cheapest(rest.map((group) => cost(branch, group.flat())));
        branch = dropped(branch, rest[gone]!.flat());
        rest = rest.toSpliced(gone, 1);
      }
      for (const part of row)
        if (part.groups === count) found.set(part, { channels: rest.flat(2), state: branch });
    }
  }
  return parts.map((part) => found.get(part)!);

  function dropMembers(all: typeof grid, from: State, left: number): [typeof grid, State] {
    let [rest, next] = [all, from];
    for (const _ of all) {
      const costs = rest.map((group) =>
        group.map((member) => (group.length > left ? cost(next, member) : Infinity)),
      );
      const group = cheapest(costs.map((row) => Math.min(...row)));
      const member = cheapest(costs[group]!);
      next = dropped(next, rest[group]![member]!);
      rest = rest.with(group, rest[group]!.toSpliced(member, 1));
    }
    return [rest, next];
  }
}

const byContribution = ({ contributions }: FeatureMap): Criterion<undefined> => ({
  start: undefined,
  cost: (_, channels) => channels.reduce((sum, channel) => sum + contributions[channel]!, 0),
  drop: () => undefined,
});

/**
 * Without refit, dropping the set R changes the output by sum_{i in R} W_:i h_i, whose energy is the sum over R x R of
 * K = G o (W^T W). The state is each channel's sum of K with those gone.
 */
function byOutputChange({ map, judged = map, gram }: FeatureMap): Criterion<Float64Array> {
  const n = map.columns;
  const columns = transpose(judged);
  const k = matrix(n, n);
  addProduct(k, columns, columns);
  for (let i = 0; i < k.data.length; i++) k.data[i]! *= gram.data[i]!;
  return {
    start: new Float64Array(n),
    cost: (gone, channels) =>
      channels.reduce(
        (sum, i) => channels.reduce((inner, j) => inner + k.data[i * n + j]!, sum + 2 * gone[i]!),
        0,
      ),
    drop: (gone, channels) =>
      gone.map((sum, i) => channels.reduce((inner, j) => inner + k.data[j * n + i]!, sum)),
  };
}

/** Elimination of whole runs of channels. */
function nestedHeads(
  { grid, map, judged = map }: FeatureMap,
  inverted: Matrix,
  parts: readonly FeatureGrid[],
): readonly Kept[] {
  const stacked = judged === map ? map : stack(judged, map);
  const start: Elimination = { channels: range(map.columns), inverse: inverted, map: stacked };
  // tr(W_B ([A^-1]_BB)^-1 W_B^T): how much the least loss rises without the channels B.
  const cost = (from: Elimination, channels: readonly number[]): number => {
    const { u } = pivotOf(from, channels, judged.rows);
    return u.data.reduce((sum, value) => sum + value * value, 0);
  };
  return walk(grid, parts, { start, cost, drop }).map(({ state }) => ({
    channels: state.channels,
    map: copy(block(state.map, stacked.rows - map.rows, 0, map.rows, state.map.columns)),
  }));
}

/** The least-squares map on the channels still there, what decides above, and the inverse of their damped Gram matrix. */
interface Elimination extends Kept {
  readonly inverse: Matrix;
}

/** Block downdates: A^-1 loses P P^T and W loses U P^T, P = [A^-1]_:B L^-T, U = W_B L^-T, L L^T = [A^-1]_BB. */
function drop(from: Elimination, channels: readonly number[]): Elimination {
  const { positions, l, u } = pivotOf(from, channels, from.map.rows);
  const gone = new Set(positions);
  const rest = range(from.channels.length).filter((position) => !gone.has(position));
  const p = solveLower(l, select(from.inverse, rest, positions)); // (rest, B)
  const left = select(from.inverse, rest, rest);
  addProduct(left, p, p, -1);
  const map = select(from.map, range(from.map.rows), rest);
  addProduct(map, u, p, -1); // (outputs, B) x (rest, B)^T
  return { channels: rest.map((position) => from.channels[position]!), inverse: left, map };
}

interface Pivot {
  readonly positions: readonly number[];
  readonly l: Matrix;
  /** (outputs, B), of the first `outputs` rows of the map. */
  readonly u: Matrix;
}

function pivotOf(
  { channels: alive, inverse: inverted, map }: Elimination,
  channels: readonly number[],
  outputs: number,
): Pivot {
  const wanted = new Set(channels);
  const positions = range(alive.length).filter((position) => wanted.has(alive[position]!));
  const l = cholesky(select(inverted, positions, positions));
  if (l === undefined)
    throw new PuzzleError('file-invalid', 'activations of the teacher have no usable second moments', {
      fix: 'use more calibration text, or check the weights of the model',
    });
  return { positions, l, u: solveLower(l, select(map, range(outputs), positions)) };
}

/** argmin, the first of equals. */
const cheapest = (costs: readonly number[]): number =>
  costs.reduce((best, cost, index) => (cost < costs[best]! ? index : best), 0);

const range = (length: number): number[] => Array.from({ length }, (_, i) => i);
