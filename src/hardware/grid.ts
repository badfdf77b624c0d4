/** A coarse grid of log(true time / smooth time), interpolated linearly in the logarithms of its coordinates. */
import { z } from 'zod';

export const gridSchema = z.strictObject({
  /** Ascending knots by coordinate, slowest first. */
  axes: z.array(z.strictObject({ name: z.string(), knots: z.array(z.number().positive()).min(1) })).min(1),
  /** Size of one unit of the stored residuals. */
  step: z.number().positive(),
  /** Base64 of one signed byte per knot. */
  residuals: z.base64(),
});

export type Grid = z.output<typeof gridSchema>;

/** Where a kernel call lies: `m`, `n`, `k`, `length`, `group`, ... by name. */
export type Coordinates = Readonly<Record<string, number>>;

interface OpenGrid {
  readonly names: readonly string[];
  readonly logKnots: readonly Float64Array[];
  readonly residuals: Int8Array;
}

const opened = new WeakMap<Grid, OpenGrid>();

function open(grid: Grid): OpenGrid {
  let found = opened.get(grid);
  if (found === undefined) {
    const bytes = Buffer.from(grid.residuals, 'base64');
    found = {
      names: grid.axes.map((axis) => axis.name),
      logKnots: grid.axes.map((axis) => Float64Array.from(axis.knots, Math.log2)),
      residuals: new Int8Array(bytes.buffer, bytes.byteOffset, bytes.length),
    };
    opened.set(grid, found);
  }
  return found;
}

/** Number of residuals that a grid must hold. */
export const knotCount = (grid: Pick<Grid, 'axes'>): number =>
  grid.axes.reduce((count, axis) => count * axis.knots.length, 1);

/** The knots of the cell that holds a point, with their weights, and how many octaves the point lies outside. */
interface Corners {
  readonly offsets: readonly number[];
  readonly weights: readonly number[];
  readonly octavesOutside: number;
}

function cornersOf(names: readonly string[], logKnots: readonly Float64Array[], at: Coordinates): Corners {
  let octavesOutside = 0;
  // Grown axis by axis: each axis doubles the corners, unless the point lies on a knot or outside.
  let offsets = [0];
  let weights = [1];
  for (const [a, knots] of logKnots.entries()) {
    const x = Math.log2(at[names[a]!]!);
    const last = knots.length - 1;
    octavesOutside = Math.max(octavesOutside, knots[0]! - x, x - knots[last]!);
    let lower = 0;
    while (lower < last && knots[lower + 1]! <= x) lower++;
    const upper = Math.min(lower + 1, last);
    const share = upper === lower ? 0 : Math.max(0, (x - knots[lower]!) / (knots[upper]! - knots[lower]!));
    offsets = offsets.map((offset) => offset * knots.length + lower);
    if (share > 0) {
      offsets = [...offsets, ...offsets.map((offset) => offset + 1)];
      weights = [...weights.map((w) => w * (1 - share)), ...weights.map((w) => w * share)];
    }
  }
  return { offsets, weights, octavesOutside };
}

/** Positions of the residuals that `interpolate` reads at a point. */
export function knotsRead(axes: Grid['axes']): (at: Coordinates) => readonly number[] {
  const names = axes.map((axis) => axis.name);
  const logKnots = axes.map((axis) => Float64Array.from(axis.knots, Math.log2));
  return (at) => cornersOf(names, logKnots, at).offsets;
}

/**
 * The residual at a point, and how many octaves the point lies outside the grid (0 inside). Outside, the edge's value
 * is kept: the smooth model carries the trend.
 */
export function interpolate(
  grid: Grid,
  at: Coordinates,
): { readonly residual: number; readonly octavesOutside: number } {
  const { names, logKnots, residuals } = open(grid);
  const { offsets, weights, octavesOutside } = cornersOf(names, logKnots, at);
  let units = 0;
  for (const [i, offset] of offsets.entries()) units += residuals[offset]! * weights[i]!;
  return { residual: units * grid.step, octavesOutside };
}

/** Packs residuals, axis by axis, into one byte each; the step is as fine as the largest one allows. */
export function packGrid(axes: Grid['axes'], values: Float64Array): Grid {
  const largest = values.reduce((max, value) => Math.max(max, Math.abs(value)), 1e-3);
  // Three significant digits of the step are enough and keep the file short; rounded up, so that nothing overflows.
  const step = Number((largest / 126.5).toPrecision(3));
  const bytes = Int8Array.from(values, (value) => Math.round(value / step));
  return { axes, step, residuals: Buffer.from(bytes.buffer).toString('base64') };
}
