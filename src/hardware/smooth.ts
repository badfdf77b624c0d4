/** A kernel's time as a smooth function of its work: roofline with a soft corner, ramps and a fixed overhead. */
import { z } from 'zod';

/** What a kernel must do; `ramps` are the extents that must be long for compute to run at full rate. */
export interface Work {
  readonly flops: number;
  readonly bytes: number;
  readonly ramps: readonly number[];
}

export const smoothSchema = z.strictObject({
  computeEfficiency: z.number().positive(),
  bandwidthEfficiency: z.number().positive(),
  /** a_i: the extent of each ramp at which compute runs at half its rate. */
  halfRamps: z.array(z.number().nonnegative()),
  sharpness: z.number().positive(),
  overheadMs: z.number().nonnegative(),
});

export type Smooth = z.output<typeof smoothSchema>;

export interface Peaks {
  readonly flopsPerSecond: number;
  readonly bytesPerSecond: number;
}

/** The time of each limit apart; the whole is the p-norm of compute and memory plus the overhead. */
export function smoothParts(
  s: Smooth,
  work: Work,
  peaks: Peaks,
): { readonly computeMs: number; readonly memoryMs: number } {
  // tc = F / (P ec) * prod(1 + a_i / x_i)
  let computeMs = (work.flops / (peaks.flopsPerSecond * s.computeEfficiency)) * 1e3;
  for (const [i, half] of s.halfRamps.entries()) computeMs *= 1 + half / work.ramps[i]!;
  // tm = B / (BW em)
  const memoryMs = (work.bytes / (peaks.bytesPerSecond * s.bandwidthEfficiency)) * 1e3;
  return { computeMs, memoryMs };
}

/** t = (tc^p + tm^p)^(1/p) + t0 */
export function smoothTimeMs(s: Smooth, work: Work, peaks: Peaks): number {
  const { computeMs, memoryMs } = smoothParts(s, work, peaks);
  const slow = Math.max(computeMs, memoryMs);
  if (slow === 0) return s.overheadMs;
  // Scaled by the larger one, so that high powers of small times do not vanish.
  return (
    slow * (1 + (Math.min(computeMs, memoryMs) / slow) ** s.sharpness) ** (1 / s.sharpness) + s.overheadMs
  );
}
