/** Measurements of kernels -> kernel models with bands and held-out errors; which model, cross-validation decides. */
import type { AttentionCall, GemmKind } from '../kernel-call.ts';
import type { KernelModel } from '../kernel-model.ts';
import type { AttentionKernel, DeviceFacts, GemmKernel } from '../profile.ts';
import type { Peaks } from '../smooth.ts';
import { silent } from '../../util/progress.ts';
import type { ReportProgress } from '../../util/progress.ts';
import { buildModel } from './build-model.ts';
import type { GridPlan } from './build-model.ts';
import { bandsOf, crossValidate, foldsToChoose, heldOutStatistics } from './cross-validate.ts';
import { sampleOf } from './read-measurements.ts';
import type { MeasuredRow, TimedCall } from './read-measurements.ts';
import type { Sample } from './sample.ts';

/** Positions of m kept: 4-bit formats and blockwise fp8 are asked about less. */
const gemmPlans = (kind: GemmKind): readonly GridPlan[] => [
  {
    name: 'grid over m, n, k',
    axes: [
      { name: 'm', knots: { atMost: kind === 'bf16' || kind === 'fp8' ? 36 : 20 } },
      { name: 'n', knots: { atMost: 24 } },
      { name: 'k', knots: { atMost: 24 } },
    ],
    scales: { n: 6, k: 6 },
  },
];

/** Most positions of length kept. */
const lengths = 11;

const attentionPlans: readonly GridPlan[] = [
  {
    name: 'grid over length, group, work',
    axes: [
      { name: 'length', knots: { atMost: lengths } },
      { name: 'group', knots: { powersOf: 2 } },
      { name: 'work', knots: { powersOf: 2 } },
    ],
    scales: { work: 3, group: 3, headDim: 4 },
  },
  {
    name: 'grid over length, group, KV heads, batch',
    axes: [
      { name: 'length', knots: { atMost: lengths } },
      { name: 'group', knots: { powersOf: 2 } },
      { name: 'kvHeads', knots: { powersOf: 2 } },
      { name: 'batch', knots: { powersOf: 4 } },
    ],
    scales: { parallel: 20, group: 6, batch: 10, kvHeads: 10, headDim: 4 },
    derive: ({ group, batch, kvHeads }) => ({ parallel: batch! * kvHeads! * group! }),
  },
];

/** Rows are held to be too few to test a model on below this. */
export const leastRows = 100;

interface Chosen {
  readonly model: KernelModel;
  readonly plan: string;
}

/**
 * The plan with the least mean absolute error on the first held-out folds, the smooth fit alone among them, built on
 * all samples; its bands and statistics come from all folds.
 */
export function chooseModel(
  samples: readonly Sample[],
  peaks: Peaks,
  plans: readonly GridPlan[],
  siblings: readonly Sample[] = [],
): Chosen {
  const candidates = [undefined, ...plans];
  const tried = crossValidate(samples, peaks, candidates, siblings, 0, foldsToChoose).map((errors, p) => ({
    plan: candidates[p],
    errors,
    mean: errors.reduce((total, { logError }) => total + Math.abs(logError), 0) / errors.length,
  }));
  const { plan, errors: first } = tried.reduce((best, other) => (other.mean < best.mean ? other : best));
  const errors = [...first, ...crossValidate(samples, peaks, [plan], siblings, foldsToChoose)[0]!];
  const shapes = new Set(samples.map(({ shape }) => shape)).size;
  return {
    plan: plan?.name ?? 'smooth',
    model: {
      flopsPerSecond: peaks.flopsPerSecond,
      ...buildModel(samples, peaks, plan, { siblings }),
      bands: bandsOf(errors),
      heldOut: heldOutStatistics(errors, shapes),
    },
  };
}

export interface CalibratedKernels {
  readonly gemm: GemmKernel[];
  readonly prefill: AttentionKernel[];
  readonly decode: AttentionKernel[];
}

/** Models of every kernel that the rows time; rows without a time are ignored. Deterministic. */
export function calibrate(
  rows: readonly MeasuredRow[],
  device: DeviceFacts,
  report: ReportProgress = silent,
): CalibratedKernels {
  const sets = new Map<string, { kernel: MeasuredRow['kernel']; samples: Sample[] }>();
  for (const { kernel, latencyMs } of rows) {
    if (latencyMs === undefined) continue;
    const key = kernel.op === 'gemm' ? kernel.call.kind : attentionKey(kernel.call);
    const set = sets.get(key) ?? { kernel, samples: [] };
    set.samples.push(sampleOf(kernel, latencyMs));
    sets.set(key, set);
  }
  const result: CalibratedKernels = { gemm: [], prefill: [], decode: [] };
  const usable = [...sets].filter(([, { samples }]) => samples.length >= leastRows);
  report({ kind: 'stage-started', stage: 'calibrate', total: usable.length, unit: 'kernels' });
  for (const [i, [key, { kernel, samples }]] of usable.entries()) {
    if (kernel.op === 'gemm') {
      const { kind } = kernel.call;
      const { model, plan } = chooseModel(samples, peaksOf(device, kind), gemmPlans(kind));
      result.gemm.push({ kind, model });
      report({ kind: 'advanced', stage: 'calibrate', done: i + 1, note: noteOf(key, plan, model) });
    } else {
      const { phase, format, kv, headDim, window } = kernel.call;
      // Other head dims of the same kernel: few are timed of some, and they switch regimes alike.
      const siblings = usable.flatMap(([, other]) =>
        other.samples !== samples && familyKey(other.kernel) === familyKey(kernel) ? other.samples : [],
      );
      const { model, plan } = chooseModel(samples, peaksOf(device, format), attentionPlans, siblings);
      result[phase].push({ format, kv, headDim, ...(window !== undefined && { window }), model });
      report({ kind: 'advanced', stage: 'calibrate', done: i + 1, note: noteOf(key, plan, model) });
    }
  }
  report({ kind: 'stage-finished', stage: 'calibrate' });
  return result;
}

const attentionKey = (call: AttentionCall): string => `${attentionFamily(call)} head ${call.headDim}`;

const attentionFamily = ({ phase, format, kv, window }: AttentionCall): string =>
  `${phase} ${format}/${kv}${window === undefined ? '' : ` window ${window}`}`;

const familyKey = ({ op, call }: TimedCall): string => (op === 'gemm' ? call.kind : attentionFamily(call));

const noteOf = (key: string, plan: string, { heldOut }: KernelModel): string =>
  `${key}: ${plan}, held out ${(100 * heldOut!.medianError).toFixed(1)} / ${(100 * heldOut!.p90Error).toFixed(1)} %, coverage ${(100 * heldOut!.coverage).toFixed(0)} %`;

/** Formats in which the operands of a kernel's products are multiplied. */
const computeFormat: Readonly<Record<GemmKind, string>> = {
  fp32: 'fp32',
  fp16: 'bf16',
  bf16: 'bf16',
  fp8: 'fp8',
  'fp8-static': 'fp8',
  'fp8-block': 'fp8',
  nvfp4: 'fp4',
  int8: 'int8',
  'int8-weights': 'bf16',
  'int4-weights': 'bf16',
};

/** The device's limits for one kernel; a format without hardware runs at the rate of bf16. */
export function peaksOf(device: DeviceFacts, kind: GemmKind): Peaks {
  return {
    flopsPerSecond:
      device.peakFlops[computeFormat[kind]] ??
      device.peakFlops['bf16'] ??
      Math.max(...Object.values(device.peakFlops)),
    bytesPerSecond: device.bandwidthBytesPerSecond,
  };
}
