/** From measured samples of one kernel to its model: smooth fit, then a grid of what the fit leaves. */
import { knotCount, knotsRead, packGrid } from '../grid.ts';
import type { Coordinates, Grid } from '../grid.ts';
import { smoothTimeMs } from '../smooth.ts';
import type { Peaks, Smooth } from '../smooth.ts';
import { fitSmooth } from './fit-smooth.ts';
import { bestKnots } from './knots.ts';
import { krige } from './kriging.ts';
import type { Known } from './kriging.ts';
import type { Sample } from './sample.ts';

/** How a grid is laid over the samples. */
export interface GridPlan {
  readonly name: string;
  /** Axes of the grid, the sliced one first: knots are powers of a base, or so many of the measured positions. */
  readonly axes: readonly {
    readonly name: string;
    readonly knots: { readonly powersOf: number } | { readonly atMost: number };
  }[];
  /** Octaves over which values resemble each other, by coordinate; the sliced axis is never krigged across. */
  readonly scales: Readonly<Record<string, number>>;
  /** Further coordinates that distance looks at, derived from the axes: octaves by coordinate. */
  readonly derive?: (at: Coordinates) => Coordinates;
}

export interface BuiltModel {
  readonly smooth: Smooth;
  readonly grid?: Grid;
}

interface BuildOptions {
  /**
   * Samples of kernels that differ in one coordinate off the grid (head dim): they inform the fit and the kriging,
   * while the grid reaches as far as the kernel's own samples and `asked`.
   */
  readonly siblings?: readonly Sample[];
  /** Where the model will be asked; other knots of the grid stay empty. Default: everywhere. */
  readonly asked?: readonly Coordinates[];
  /** The fit to all samples, where it is known. */
  readonly smooth?: Smooth;
}

/**
 * Builds a model; without a plan it is the smooth fit alone. Deterministic.
 */
export function buildModel(
  samples: readonly Sample[],
  peaks: Peaks,
  plan?: GridPlan,
  { siblings = [], asked, smooth: fitted }: BuildOptions = {},
): BuiltModel {
  const all = [...samples, ...siblings];
  const smooth = fitted ?? fitSmooth(all, peaks);
  if (plan === undefined) return { smooth };
  const residuals = all.map(({ work, ms }) => Math.log(ms / smoothTimeMs(smooth, work, peaks)));
  const axes = plan.axes.map(({ name, knots }, a) => ({
    name,
    knots:
      'atMost' in knots
        ? measuredKnots(samples, residuals, name, a === 0 ? knots.atMost : Infinity)
        : powersAround([...samples.map(({ at }) => at), ...(asked ?? [])], name, knots.powersOf),
  }));
  const sliced = axes[0]!;
  const coordinates = Object.keys(plan.scales);
  const place = (at: Coordinates): number[] => {
    const derived = plan.derive === undefined ? at : { ...at, ...plan.derive(at) };
    return coordinates.map((name) => Math.log2(derived[name]!) / plan.scales[name]!);
  };

  const read = knotsRead(axes);
  const wanted = asked && new Set(asked.flatMap(read));
  const values = new Float64Array(knotCount({ axes }));
  const perSlice = values.length / sliced.knots.length;
  for (const [s, knot] of sliced.knots.entries()) {
    const slice = knownAt(all, residuals, sliced.name, knot, place, coordinates.length);
    let offset = s * perSlice;
    for (const at of points(axes.slice(1), { ...samples[0]!.at, [sliced.name]: knot })) {
      if (wanted === undefined || wanted.has(offset)) values[offset] = krige(slice, place(at));
      offset++;
    }
  }
  return { smooth, grid: packGrid(axes, values) };
}

/** Every combination of the axes' knots, last axis fastest. */
function* points(axes: Grid['axes'], at: Coordinates): Generator<Coordinates> {
  const [axis, ...rest] = axes;
  if (axis === undefined) yield at;
  else for (const knot of axis.knots) yield* points(rest, { ...at, [axis.name]: knot });
}

function knownAt(
  samples: readonly Sample[],
  residuals: readonly number[],
  axis: string,
  knot: number,
  place: (at: Coordinates) => number[],
  dimensions: number,
): Known {
  const rows = samples.flatMap((sample, i) => (sample.at[axis] === knot ? [i] : []));
  const placed = rows.map((i) => place(samples[i]!.at));
  return {
    features: Array.from({ length: dimensions }, (_, d) => Float64Array.from(placed, (point) => point[d]!)),
    values: Float64Array.from(rows, (i) => residuals[i]!),
  };
}

/** Powers of a base that enclose all points. */
function powersAround(points: readonly Coordinates[], axis: string, base: number): number[] {
  const exponents = points.map((at) => Math.log2(at[axis]!) / Math.log2(base));
  const least = Math.floor(exponents.reduce((a, b) => Math.min(a, b)));
  const most = Math.ceil(exponents.reduce((a, b) => Math.max(a, b)));
  return Array.from({ length: most - least + 1 }, (_, i) => base ** (least + i));
}

/** The best few of the measured positions of an axis, judged by curves over everything else. */
function measuredKnots(
  samples: readonly Sample[],
  residuals: readonly number[],
  axis: string,
  atMost: number,
): number[] {
  const positions = [...new Set(samples.map(({ at }) => at[axis]!))].sort((a, b) => a - b);
  if (positions.length <= atMost) return positions;
  const index = new Map(positions.map((position, i) => [position, i]));
  const curves = new Map<string, Float64Array>();
  for (const [i, { at, shape }] of samples.entries()) {
    const key = `${shape} ${at['batch'] ?? ''}`;
    let curve = curves.get(key);
    if (curve === undefined) curves.set(key, (curve = new Float64Array(positions.length).fill(NaN)));
    curve[index.get(at[axis]!)!] = residuals[i]!;
  }
  // Where a curve ends (a long cache of many sequences does not fit) it stays at its last value: a missing end must not
  // make a segment free.
  for (const curve of curves.values()) {
    for (let i = 1; i < curve.length; i++) if (Number.isNaN(curve[i])) curve[i] = curve[i - 1]!;
  }
  return bestKnots(positions.map(Math.log2), [...curves.values()], atMost).map((i) => positions[i]!);
}
