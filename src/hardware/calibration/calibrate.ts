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
import type { MeasuredRow } from './read-measurements.ts';
import type { Sample } from './sample.ts';

const powersOfTwo = (most: number, base = 2): number[] =>
  Array.from({ length: Math.floor(Math.log(most) / Math.log(base)) + 1 }, (_, i) => base ** i);

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
      { name: 'group', knots: powersOfTwo(128) },
      { name: 'work', knots: powersOfTwo(8192) },
    ],
    scales: { work: 3, group: 3 },
  },
  {
    name: 'grid over length, group, KV heads, batch',
    axes: [
      { name: 'length', knots: { atMost: lengths } },
      { name: 'group', knots: powersOfTwo(64) },
      { name: 'kvHeads', knots: powersOfTwo(64) },
      { name: 'batch', knots: powersOfTwo(256, 4) },
    ],
    scales: { parallel: 20, group: 6, batch: 10, kvHeads: 10 },
    derive: ({ group, work, batch, kvHeads }) => ({ parallel: (work ?? batch! * kvHeads!) * group! }),
  },
];

/** Rows are held to be too few to test a model on below this. */
const leastRows = 100;

interface Chosen {
  readonly model: KernelModel;
  readonly plan: string;
}

/**
 * The plan with the least mean absolute error on the first held-out folds, the smooth fit alone among them, built on
 * all samples; its bands and statistics come from all folds.
 */
export function chooseModel(samples: readonly Sample[], peaks: Peaks, plans: readonly GridPlan[]): Chosen {
  const tried = [undefined, ...plans].map((plan) => {
    const errors = crossValidate(samples, peaks, plan, 0, foldsToChoose);
    return {
      plan,
      errors,
      mean: errors.reduce((total, { logError }) => total + Math.abs(logError), 0) / errors.length,
    };
  });
  const { plan, errors: first } = tried.reduce((best, other) => (other.mean < best.mean ? other : best));
  const errors = [...first, ...crossValidate(samples, peaks, plan, foldsToChoose)];
  const bands = bandsOf(errors);
  const shapes = new Set(samples.map(({ shape }) => shape)).size;
  return {
    plan: plan?.name ?? 'smooth',
    model: {
      flopsPerSecond: peaks.flopsPerSecond,
      ...buildModel(samples, peaks, plan),
      bands,
      heldOut: heldOutStatistics(errors, bands, shapes),
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
      const { model, plan } = chooseModel(samples, peaksOf(device, format), attentionPlans);
      result[phase].push({ format, kv, headDim, ...(window !== undefined && { window }), model });
      report({ kind: 'advanced', stage: 'calibrate', done: i + 1, note: noteOf(key, plan, model) });
    }
  }
  report({ kind: 'stage-finished', stage: 'calibrate' });
  return result;
}

const attentionKey = ({ phase, format, kv, headDim, window }: AttentionCall): string =>
  `${phase} ${format}/${kv} head ${headDim}${window === undefined ? '' : ` window ${window}`}`;

const noteOf = (key: string, plan: string, { heldOut }: KernelModel): string =>
  `${key}: ${plan}, held out ${(100 * heldOut!.medianError).toFixed(1)} / ${(100 * heldOut!.p90Error).toFixed(1)} %, coverage ${(100 * heldOut!.coverage).toFixed(0)} %`;

/** Formats in which the operands of a kernel's products are multiplied. */
const computeFormat: Readonly<Record<GemmKind, string>> = {
  fp32: 'fp32',
  fp16: 'bf16',
  bf16: 'bf16',
  fp8: 'fp8',
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
