/** Errors of a model on shapes it has not seen, and the bands that hold them. */
import type { Band, KernelModel } from '../kernel-model.ts';
import { kernelTime } from '../kernel-model.ts';
import type { Peaks } from '../smooth.ts';
import { seededRandom } from '../../util/random.ts';
import { buildModel } from './build-model.ts';
import type { BuiltModel, GridPlan } from './build-model.ts';
import { fitSmooth } from './fit-smooth.ts';
import type { Sample } from './sample.ts';

const folds = 6;

/** Enough of them to tell a better plan from a worse one. */
export const foldsToChoose = 2;

/** Held-out rows: log(measured / predicted) with the extent that selects a band, their shape and its fold. */
export interface HeldOutError {
  readonly shape: string;
  readonly fold: number;
  readonly first: number;
  readonly logError: number;
}

/** Time of one sample under a model, bands left aside. */
export function predictMs(model: BuiltModel, sample: Sample, peaks: Peaks): number {
  const whole: KernelModel = { flopsPerSecond: peaks.flopsPerSecond, ...model, bands: [{ low: 1, high: 1 }] };
  return kernelTime(whole, sample.work, sample.at, sample.first, peaks.bytesPerSecond).value;
}

/** Which fold each shape belongs to: whole shapes, shuffled by a fixed seed. */
export function foldsByShape(
  samples: readonly { readonly shape: string }[],
  count: number,
): ReadonlyMap<string, number> {
  const shapes = [...new Set(samples.map(({ shape }) => shape))].sort();
  return new Map(
    seededRandom(5)
      .shuffle(shapes)
      .map((shape, i) => [shape, i % count]),
  );
}

/**
 * Samples predicted by models that have seen nothing of their shape: those of folds `from` up to `to` of them all; one
 * list of errors for each plan.
 */
export function crossValidate(
  samples: readonly Sample[],
  peaks: Peaks,
  plans: readonly (GridPlan | undefined)[],
  siblings: readonly Sample[],
  from = 0,
  to = folds,
): readonly HeldOutError[][] {
  const fold = foldsByShape(samples, folds);
  const errors = plans.map((): HeldOutError[] => []);
  for (let f = from; f < Math.min(to, fold.size); f++) {
    const heldOut = samples.filter(({ shape }) => fold.get(shape) === f);
    const seen = samples.filter(({ shape }) => fold.get(shape) !== f);
    const asked = heldOut.map(({ at }) => at);
    const smooth = fitSmooth([...seen, ...siblings], peaks);
    for (const [p, plan] of plans.entries()) {
      const model = buildModel(seen, peaks, plan, { siblings, asked, smooth });
      for (const sample of heldOut) {
        const { shape, first, ms } = sample;
        errors[p]!.push({ shape, fold: f, first, logError: Math.log(ms / predictMs(model, sample, peaks)) });
      }
    }
  }
  return errors;
}

/** The quantile q of ascending values, linear between ranks. */
export function quantile(ascending: readonly number[], q: number): number {
  const at = q * (ascending.length - 1);
  const low = Math.floor(at);
  const share = at - low;
  return ascending[low]! * (1 - share) + ascending[Math.min(low + 1, ascending.length - 1)]! * share;
}

/** Each band needs this many rows, so that its 5 % and 95 % quantiles rest on ten rows each. */
const rowsPerBand = 200;

/**
 * 90 % bands of equal numbers of rows along the first extent: 5 % and 95 % quantiles of log(measured / predicted),
 * widened by 2 / shapes, as the rows of few shapes do not show how much the next shape will differ.
 */
export function bandsOf(errors: readonly HeldOutError[], most = 4): KernelModel['bands'] {
  const positions = new Set(errors.map(({ first }) => first)).size;
  const widening = 1 + 2 / new Set(errors.map(({ shape }) => shape)).size;
  const count = Math.max(1, Math.min(most, Math.floor(errors.length / rowsPerBand), positions));
  const sorted = errors.toSorted((a, b) => a.first - b.first);
  const edges = Array.from(
    { length: count - 1 },
    (_, i) => sorted[Math.floor(((i + 1) * sorted.length) / count)]!.first,
  );
  return [...new Set(edges), undefined].map((upTo, i, all) => {
    const above = i === 0 ? -Infinity : all[i - 1]!;
    const inside = errors.filter(({ first }) => first > above && first <= (upTo ?? Infinity));
    return {
      ...(upTo === undefined ? {} : { upTo }),
      ...bandOf(inside.map(({ logError }) => logError * widening)),
    };
  });
}

function bandOf(logErrors: readonly number[]): Band {
  const ascending = [...logErrors].sort((a, b) => a - b);
  return {
    low: Math.min(1, Number(Math.exp(quantile(ascending, 0.05)).toPrecision(4))),
    high: Math.max(1, Number(Math.exp(quantile(ascending, 0.95)).toPrecision(4))),
  };
}

/** What a profile says of its own accuracy; each fold's errors are held against bands that the other folds give. */
export function heldOutStatistics(
  errors: readonly HeldOutError[],
  shapes: number,
): NonNullable<KernelModel['heldOut']> {
  const absolute = errors.map(({ logError }) => Math.abs(Math.expm1(-logError))).sort((a, b) => a - b);
  const inside = [...new Set(errors.map(({ fold }) => fold))].flatMap((held) => {
    const bands = bandsOf(errors.filter(({ fold }) => fold !== held));
    return errors.filter(({ fold, first, logError }) => {
      const { low, high } = bands.find(({ upTo }) => upTo === undefined || first <= upTo)!;
      return fold === held && logError >= Math.log(low) && logError <= Math.log(high);
    });
  });
  const round = (value: number): number => Number(value.toPrecision(3));
  return {
    shapes,
    rows: errors.length,
    medianError: round(quantile(absolute, 0.5)),
    p90Error: round(quantile(absolute, 0.9)),
    coverage: round(inside.length / errors.length),
  };
}
