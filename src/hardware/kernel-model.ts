/** The model of one kernel on one device, and the time it gives to a call. */
import { z } from 'zod';
import { gridSchema, interpolate, knotCount } from './grid.ts';
import type { Coordinates } from './grid.ts';
import { quantity } from './quantity.ts';
import type { Quantity } from './quantity.ts';
import { smoothSchema, smoothTimeMs } from './smooth.ts';
import type { Work } from './smooth.ts';

/** Factors around a value that hold the truth nine times of ten. */
export const bandSchema = z.strictObject({ low: z.number().positive().max(1), high: z.number().min(1) });
export type Band = z.output<typeof bandSchema>;

export const kernelModelSchema = z
  .strictObject({
    flopsPerSecond: z.number().positive(),
    smooth: smoothSchema,
    grid: gridSchema.optional(),
    /** Bands by the call's first extent (m, or length): each holds up to and including `upTo`; the last has none. */
    bands: z.array(z.strictObject({ upTo: z.number().positive().optional(), ...bandSchema.shape })).min(1),
    /** What cross-validation over shapes found; absent where nothing was measured on this device under this stack. */
    heldOut: z
      .strictObject({
        shapes: z.int().positive(),
        rows: z.int().positive(),
        medianError: z.number().nonnegative(),
        p90Error: z.number().nonnegative(),
        /** Share of held-out rows within their band. */
        coverage: z.number().min(0).max(1),
      })
      .optional(),
  })
  .refine(
    ({ grid }) => grid === undefined || Buffer.from(grid.residuals, 'base64').length === knotCount(grid),
    {
      path: ['grid', 'residuals'],
      message: 'must hold one byte per knot',
    },
  );

export type KernelModel = z.output<typeof kernelModelSchema>;

/** A point may lie this far outside the grid (an eighth of an octave) before it counts as extrapolated. */
const toleratedOctaves = 1 / 8;

/** Time of a call of this kernel, in ms. */
export function kernelTime(
  model: KernelModel,
  work: Work,
  at: Coordinates,
  first: number,
  bytesPerSecond: number,
): Quantity {
  const smoothMs = smoothTimeMs(model.smooth, work, { flopsPerSecond: model.flopsPerSecond, bytesPerSecond });
  const band = model.bands.find(({ upTo }) => upTo === undefined || first <= upTo)!;
  if (model.grid === undefined)
    return quantity(smoothMs, model.heldOut === undefined ? 'extrapolated' : 'fitted', band);
  const { residual, octavesOutside } = interpolate(model.grid, at);
  const ms = smoothMs * Math.exp(residual);
  if (octavesOutside <= toleratedOctaves)
    return quantity(ms, model.heldOut === undefined ? 'extrapolated' : 'interpolated', band);
  return quantity(ms, 'extrapolated', widened(band, octavesOutside));
}

/** A band `octaves` beyond what was measured: its logarithm grows by as much again, and by 10 %, with each octave. */
export function widened(band: Band, octaves: number): Band {
  return {
    low: band.low ** (1 + octaves) / 1.1 ** octaves,
    high: band.high ** (1 + octaves) * 1.1 ** octaves,
  };
}
