/** Profiles from a user's own measurements: tables of kernels, what `puzzle profile` timed, one end-to-end number. */
import { blockKey } from '../../blocks/index.ts';
import type { StreamConfig } from '../../model/architecture.ts';
import { PuzzleError } from '../../util/errors.ts';
import type { ReportProgress } from '../../util/progress.ts';
import { blockShape } from '../block-shape.ts';
import { callTime } from '../call-time.ts';
import type { Estimate } from '../estimate.ts';
import type { KernelModel } from '../kernel-model.ts';
import type { MeasuredProfile } from '../measured/measured-profile.ts';
import { decodeCalls, prefillCalls } from '../operator-calls.ts';
import type { RepeatedCall } from '../operator-calls.ts';
import type { AttentionKernel, GemmKernel, HardwareProfile } from '../profile.ts';
import { workload } from '../workload.ts';
import { calibrate, leastRows } from './calibrate.ts';
import { bandsOf, foldsByShape, heldOutStatistics } from './cross-validate.ts';
import type { HeldOutError } from './cross-validate.ts';
import { leastErrors } from './least-errors.ts';
import type { MeasuredRow } from './read-measurements.ts';

/** Who measured what, for the provenance. */
interface Origin {
  readonly name: string;
  readonly source: string;
  readonly date: string;
}

/**
 * The base with the kernels that the rows time; others stay as they are, without a claim to held-out errors.
 * @throws PuzzleError `file-invalid` where no kernel has enough rows
 */
export function profileOfRows(
  rows: readonly MeasuredRow[],
  base: HardwareProfile,
  { name, source, date }: Origin,
  report: ReportProgress,
): HardwareProfile {
  const timed = calibrate(rows, base.device, report);
  if (timed.gemm.length + timed.prefill.length + timed.decode.length === 0) {
    throw new PuzzleError('file-invalid', 'There are too few measured rows.', {
      at: source,
      value: rows.filter(({ latencyMs }) => latencyMs !== undefined).length,
      fix: `Give at least ${leastRows} rows with latency_ms of one kernel (dtype; head_dim and window).`,
    });
  }
  const sameAttention = (a: AttentionKernel, b: AttentionKernel): boolean =>
    a.format === b.format && a.kv === b.kv && a.headDim === b.headDim && a.window === b.window;
  const merged = (own: readonly AttentionKernel[], old: readonly AttentionKernel[]): AttentionKernel[] => [
    ...own,
    ...old.filter((kernel) => !own.some((other) => sameAttention(kernel, other))).map(unproven),
  ];
  return {
    ...base,
    name,
    stack: `measured, over ${base.stack}`,
    gemm: [
      ...timed.gemm,
      ...base.gemm.filter(({ kind }) => !timed.gemm.some((own) => own.kind === kind)).map(unproven),
    ],
    prefill: merged(timed.prefill, base.prefill),
    decode: merged(timed.decode, base.decode),
    provenance: [
      ...base.provenance,
      {
        what: `own measurements: ${timed.gemm.length} gemm, ${timed.prefill.length} prefill, ${timed.decode.length} decode kernels`,
        source,
        date,
      },
    ],
  };
}

/** Held-out errors say nothing of another stack or machine. */
function unproven<K extends GemmKernel | AttentionKernel>(kernel: K): K {
  const { heldOut: _, ...model } = kernel.model;
  return { ...kernel, model };
}

/** The base's whole runs scaled to one that was measured. */
export function profileOfRun(
  predicted: Estimate,
  measuredLatencyMs: number,
  base: HardwareProfile,
  { name, source, date }: Origin,
): HardwareProfile {
  const before = base.endToEnd?.factor ?? 1;
  const factor = Number(((before * measuredLatencyMs) / predicted.latencyMs.value).toPrecision(4));
  return {
    ...base,
    name,
    endToEnd: { factor },
    provenance: [
      ...base.provenance,
      {
        what: `endToEnd: ${measuredLatencyMs.toPrecision(4)} ms measured against ${(predicted.latencyMs.value / before).toPrecision(4)} ms of summed kernels`,
        source,
        date,
      },
    ],
  };
}

/** What is fitted, as factors on the base: its logarithms are the coordinates of the fit. */
const coordinates = ['compute', 'memory', 'ramps', 'launch', 'prefill', 'decode', 'streaming'] as const;
type Factors = Readonly<Record<(typeof coordinates)[number], number>>;

const factorsOf = (x: readonly number[]): Factors =>
  Object.fromEntries(coordinates.map((name, i) => [name, Math.exp(x[i]!)])) as Factors;

/** Four significant digits: more would claim what no measurement holds. */
const rounded = (value: number): number => Number(value.toPrecision(4));

/** A base whose kernels are faster or slower by factors; a fit takes tiny steps, so only its end is rounded. */
function scaled(
  base: HardwareProfile,
  f: Factors,
  round = (value: number): number => value,
): HardwareProfile {
  const model = (m: KernelModel, compute: number, memory: number, ramps: number): KernelModel => ({
    ...m,
    smooth: {
      ...m.smooth,
      computeEfficiency: round(m.smooth.computeEfficiency * compute),
      bandwidthEfficiency: round(m.smooth.bandwidthEfficiency * memory),
      halfRamps: m.smooth.halfRamps.map((half) => round(half * ramps)),
      overheadMs: round(m.smooth.overheadMs * f.launch),
    },
  });
  const { streaming } = base;
  return {
    ...base,
    gemm: base.gemm.map((kernel) => ({
      ...kernel,
      model: model(kernel.model, f.compute, f.memory, f.ramps),
    })),
    prefill: base.prefill.map((kernel) => ({
      ...kernel,
      model: model(kernel.model, f.prefill, f.prefill, 1),
    })),
    decode: base.decode.map((kernel) => ({
      ...kernel,
      model: model(kernel.model, f.decode, f.decode, 1),
    })),
    streaming: {
      ...streaming,
      bandwidthEfficiency: round(streaming.bandwidthEfficiency * f.streaming),
      overheadMs: round(streaming.overheadMs * f.launch),
    },
  };
}

/** A timed part as the launches of its kernels. */
interface Part {
  readonly shape: string;
  readonly first: number;
  readonly ms: number;
  readonly calls: readonly RepeatedCall[];
}

function partsOf(
  { timings, stream: { hidden, vocabularySize }, workload: w }: MeasuredProfile,
  base: HardwareProfile,
): readonly Part[] {
  // Operators look at no more of a stream than its width.
  const stream: StreamConfig = {
    family: 'llama',
    vocabularySize,
    hidden,
    normEpsilon: 1e-5,
    ropeTheta: 1e4,
    tiedEmbeddings: true,
    contextLength: 1,
  };
  return timings.flatMap(({ timed, ms }): Part[] => {
    // A head's time holds the launch of a whole run, which no sum of kernels has.
    if (timed.part === 'head' || !(ms > 0)) return [];
    const formats = { weights: w.weights, activations: 'fp32', kv: w.kv, batch: timed.batch } as const;
    const { operators } = blockShape(timed.config, stream);
    const length = timed.phase === 'prefill' ? timed.tokens : timed.length;
    const one = workload({
      ...formats,
      inputTokens: length,
      outputTokens: 1,
      prefillTokens: length * timed.batch,
    });
    const calls = operators.flatMap((operator) =>
      timed.phase === 'prefill' ? prefillCalls(base, one, operator) : decodeCalls(base, one, operator),
    );
    return [{ shape: blockKey(timed.config), first: length, ms, calls }];
  });
}

const foldCount = 6;

/** Fewer blocks could not tell the kernels apart. */
const leastShapes = 4;

/**
 * The base's kernels, made faster or slower until their sums are the times of the blocks that `puzzle profile` took;
 * bands and held-out errors from folds over blocks.
 * @throws PuzzleError `file-invalid` where too few parts were timed
 */
export function profileOfBlocks(
  measured: MeasuredProfile,
  base: HardwareProfile,
  { name, source, date }: Origin,
): HardwareProfile {
  const parts = partsOf(measured, base);
  const shapes = new Set(parts.map(({ shape }) => shape)).size;
  if (shapes < leastShapes || parts.length <= 2 * coordinates.length) {
    throw new PuzzleError('file-invalid', `${parts.length} timings of ${shapes} blocks are too few.`, {
      at: source,
      fix: `Profile a space of at least ${leastShapes} blocks, at several batches (--batch 1,4,16).`,
    });
  }
  const fold = foldsByShape(parts, Math.min(foldCount, shapes));
  const errors = [...new Set(fold.values())].flatMap((held): HeldOutError[] => {
    const model = scaled(
      base,
      fitFactors(
        parts.filter(({ shape }) => fold.get(shape) !== held),
        base,
      ),
    );
    return parts
      .filter(({ shape }) => fold.get(shape) === held)
      .map((part) => ({
        shape: part.shape,
        fold: held,
        first: part.first,
        logError: Math.log(part.ms / timeOf(part, model)),
      }));
  });
  const evidence = { bands: bandsOf(errors, 1), heldOut: heldOutStatistics(errors, shapes) };
  const fitted = scaled(base, fitFactors(parts, base), rounded);
  const proven = <K extends GemmKernel | AttentionKernel>(kernel: K): K => ({
    ...kernel,
    model: { ...kernel.model, ...evidence },
  });
  const { low, high } = evidence.bands[0]!;
  return {
    ...fitted,
    name,
    stack: measured.runtime,
    device: { ...base.device, description: measured.device.description },
    gemm: fitted.gemm.map((kernel) => (kernel.kind === measured.workload.weights ? proven(kernel) : kernel)),
    prefill: fitted.prefill.map((kernel) => (kernel.kv === measured.workload.kv ? proven(kernel) : kernel)),
    decode: fitted.decode.map((kernel) => (kernel.kv === measured.workload.kv ? proven(kernel) : kernel)),
    streaming: { ...fitted.streaming, band: { low, high }, source: 'fitted' },
    provenance: [
      ...base.provenance,
      { what: `efficiencies, from ${parts.length} timings of blocks`, source, date },
    ],
  };
}

const timeOf = ({ calls }: Part, profile: HardwareProfile): number =>
  calls.reduce((sum, { kernel, times }) => sum + times * callTime(profile, kernel).value, 0);

/** Draws what the measurements do not tell towards the base. */
const pull = 0.02;

const fitFactors = (parts: readonly Part[], base: HardwareProfile): Factors =>
  factorsOf(
    leastErrors(
      (x) => {
        const profile = scaled(base, factorsOf(x));
        const errors = parts.map((part) => Math.log(timeOf(part, profile) / part.ms));
        return Float64Array.from([...errors, ...x.map((value) => pull * value)]);
      },
      coordinates.map(() => 0),
    ),
  );
