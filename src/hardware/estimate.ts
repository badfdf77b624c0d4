/** What a whole model costs on a device: memory by part, times, throughput, the largest batch. */
import type { Architecture } from '../model/architecture.ts';
import { PuzzleError } from '../util/errors.ts';
import { costModel } from './block-cost.ts';
import type { Cost } from './block-cost.ts';
import { countedBlocks } from './block-shape.ts';
import type { CountedBlock } from './block-shape.ts';
import { throughputTokensPerSecond } from './cost-table.ts';
import { activationBytes, memory } from './memory.ts';
import type { MemoryBytes } from './memory.ts';
import { elementBytes } from './number-format.ts';
import type { HardwareProfile } from './profile.ts';
import { scale, sources, sum } from './quantity.ts';
import type { Quantity, Source } from './quantity.ts';
import type { Workload } from './workload.ts';

export interface Estimate {
  readonly workload: Workload;
  readonly parameters: number;
  /** Of the whole model, over all devices. */
  readonly weightsBytes: number;
  readonly kvBytesPerToken: number;
  /** Of one device. */
  readonly memoryBytes: MemoryBytes;
  /** That one device has. */
  readonly availableBytes: number;
  readonly prefillMs: Quantity;
  /** Mean over the generated tokens. */
  readonly decodeMsPerToken: Quantity;
  readonly latencyMs: Quantity;
  readonly throughputTokensPerSecond: number;
  readonly fits: boolean;
  /** Largest batch whose memory fits; 0 when not even one request does. */
  readonly maxBatch: number;
  /** Share of the latency that rests on each kind of source. */
  readonly sources: readonly { readonly source: Source; readonly share: number }[];
}

/**
 * No model of kernels alone is surer of a whole run than this: two collections on one device differ by 15 to 27 % at
 * large m, other stacks by 5 to 25 % (../shared/hardware-data/README.md), and host gaps between kernels go uncounted.
 */
const systematic = 0.1;

/** Estimates a model under a workload; a workload that does not fit is estimated all the same, `fits` says so. */
export function estimate(architecture: Architecture, w: Workload, profile: HardwareProfile): Estimate {
  const blocks = countedBlocks(architecture);
  const { nonBlock, costs } = costsOf(architecture, blocks, w, profile);
  const total = (pick: (cost: Cost) => number): number =>
    pick(nonBlock) + costs.reduce((all, { cost, times }) => all + times * pick(cost), 0);
  const totalTime = (pick: (cost: Cost) => Quantity): Quantity =>
    withSystematic(sum([pick(nonBlock), ...costs.map(({ cost, times }) => scale(pick(cost), times))]));
  const memoryBytes = memoryOf(architecture, blocks, w, profile);
  const prefillMs = totalTime((cost) => cost.prefillMs);
  const decodeMs = totalTime((cost) => cost.decodeMs);
  const factor = profile.endToEnd?.factor ?? 1;
  const latency = scale(
    totalTime((cost) => sum([cost.prefillMs, cost.decodeMs])),
    factor,
  );
  const whole = { ...w, tensorParallel: 1 };
  const single = costsOf(architecture, blocks, whole, profile);
  const allWeights =
    single.nonBlock.weightBytes +
    single.costs.reduce((all, { cost, times }) => all + times * cost.weightBytes, 0);
  return {
    workload: w,
    parameters: total((cost) => cost.parameters),
    weightsBytes: allWeights,
    kvBytesPerToken:
      blocks.reduce((all, { shape, times }) => all + times * shape.kvElementsPerToken, 0) *
      elementBytes(w.kv),
    memoryBytes,
    availableBytes: profile.device.memoryBytes,
    prefillMs: scale(prefillMs, factor),
    decodeMsPerToken: scale(decodeMs, factor / Math.max(1, w.outputTokens)),
    latencyMs: latency,
    throughputTokensPerSecond: throughputTokensPerSecond(w, latency.value),
    fits: memoryBytes.total <= profile.device.memoryBytes,
    maxBatch: maxBatch(architecture, blocks, w, profile),
    sources: sourceShares([
      nonBlock,
      ...costs.flatMap(({ cost, times }) => Array.from({ length: times }, () => cost)),
    ]),
  };
}

function costsOf(
  architecture: Architecture,
  blocks: readonly CountedBlock[],
  w: Workload,
  profile: HardwareProfile,
) {
  const model = costModel(profile, w);
  return {
    nonBlock: model.nonBlock(architecture.stream),
    costs: blocks.map(({ shape, times }) => ({ cost: model.block(shape), times })),
  };
}

function withSystematic(q: Quantity): Quantity {
  const below = Math.hypot(q.value - q.errorBand.low, systematic * q.value);
  const above = Math.hypot(q.errorBand.high - q.value, systematic * q.value);
  return { ...q, errorBand: { low: Math.max(0, q.value - below), high: q.value + above } };
}

function memoryOf(
  architecture: Architecture,
  blocks: readonly CountedBlock[],
  w: Workload,
  profile: HardwareProfile,
): MemoryBytes {
  const { nonBlock, costs } = costsOf(architecture, blocks, w, profile);
  const add = (pick: (cost: Cost) => number): number =>
    pick(nonBlock) + costs.reduce((all, { cost, times }) => all + times * pick(cost), 0);
  return memory({
    weights: add((cost) => cost.weightBytes),
    kv: add((cost) => cost.kvBytes),
    activations: activationBytes(
      architecture.stream,
      blocks.map(({ shape }) => shape),
      w,
    ),
    reserve: w.reserveBytes ?? profile.device.reserveBytes,
  });
}

/** Memory grows with the batch, so the largest that fits is found by doubling and halving; 0 when none fits. */
function maxBatch(
  architecture: Architecture,
  blocks: readonly CountedBlock[],
  w: Workload,
  profile: HardwareProfile,
): number {
  const fits = (batch: number): boolean =>
    memoryOf(architecture, blocks, { ...w, batch, outputTokens: w.outputTokens }, profile).total <=
    profile.device.memoryBytes;
  if (!fits(1)) return 0;
  let low = 1;
  let high = 2;
  // No server holds more requests at once; a model without a cache would never end the search.
  const most = 65536;
  while (fits(high)) {
    if (high >= most) return most;
    low = high;
    high *= 2;
  }
  while (high - low > 1) {
    const middle = Math.floor((low + high) / 2);
    if (fits(middle)) low = middle;
    else high = middle;
  }
  return low;
}

function sourceShares(costs: readonly Cost[]): Estimate['sources'] {
  const ms = new Map<Source, number>();
  for (const { prefillMs, decodeMs } of costs) {
    for (const part of [prefillMs, decodeMs]) ms.set(part.source, (ms.get(part.source) ?? 0) + part.value);
  }
  const all = [...ms.values()].reduce((a, b) => a + b, 0);
  return sources.flatMap((source) => (ms.get(source) ? [{ source, share: ms.get(source)! / all }] : []));
}

/**
 * The batch of the highest throughput that fits: powers of two and the largest batch are tried.
 * @throws PuzzleError `infeasible` when not even one request fits, saying by how much.
 */
export function bestBatch(architecture: Architecture, w: Workload, profile: HardwareProfile): Estimate {
  const one = estimate(architecture, { ...w, batch: 1 }, profile);
  if (one.maxBatch === 0) throw doesNotFit(one, profile);
  const batches = new Set([one.maxBatch]);
  for (let batch = 1; batch < one.maxBatch; batch *= 2) batches.add(batch);
  return [...batches]
    .map((batch) => estimate(architecture, { ...w, batch }, profile))
    .reduce((best, other) =>
      other.throughputTokensPerSecond > best.throughputTokensPerSecond ? other : best,
    );
}

/** The error of a workload that does not fit: by how much, and which batch would. */
export function doesNotFit(
  { memoryBytes, workload: w, maxBatch }: Estimate,
  profile: HardwareProfile,
): PuzzleError {
  const excess = memoryBytes.total - profile.device.memoryBytes;
  return new PuzzleError(
    'infeasible',
    `Batch ${w.batch} needs ${(excess / 2 ** 30).toFixed(2)} GiB more than ${profile.name} has.`,
    {
      at: '--batch',
      value: w.batch,
      fix:
        maxBatch > 0
          ? `Use a batch of at most ${maxBatch}.`
          : 'Not even one request fits: use smaller formats, shorter requests, more devices (--tp) or a smaller model.',
      details: { memoryBytes, availableBytes: profile.device.memoryBytes, excessBytes: excess, maxBatch },
    },
  );
}
