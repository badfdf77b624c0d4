/** What one block, or the part of a model outside its blocks, costs under a workload. */
import type { Operator } from '../blocks/operators.ts';
import type { StreamConfig } from '../model/architecture.ts';
import type { Shape } from '../tensor/tensor.ts';
import { elementBytes, tensorBytes } from './number-format.ts';
import { attentionFormat, gemmKind } from './serving-formats.ts';
import { allReduceTime, attentionTime, gemmTime, streamingTime } from './operator-time.ts';
import type { HardwareProfile } from './profile.ts';
import { scale, sum, zero } from './quantity.ts';
import type { Quantity } from './quantity.ts';
import { cachedTokens, decodeSteps, prefillPlan } from './workload.ts';
import type { Workload } from './workload.ts';

/** What a cost model must know of a block: the registry in `src/blocks` tells all of it. */
export interface BlockShape {
  readonly weights: readonly Shape[];
  readonly kvElementsPerToken: number;
  readonly operators: readonly Operator[];
}

export interface Cost {
  readonly parameters: number;
  /** Per device. */
  readonly weightBytes: number;
  /** Per device, of the whole batch at its full length. */
  readonly kvBytes: number;
  /** Prefill of the whole batch. */
  readonly prefillMs: Quantity;
  /** All decode steps of the whole batch; the cache grows meanwhile. */
  readonly decodeMs: Quantity;
}

const elements = (shapes: readonly Shape[]): number =>
  shapes.reduce((total, shape) => total + shape.reduce((product, extent) => product * extent, 1), 0);

/** Times operators of a workload on a device; every distinct operator is timed once. */
export interface CostModel {
  readonly workload: Workload;
  readonly profile: HardwareProfile;
  block(shape: BlockShape): Cost;
  /** Embedding, final norm and head. */
  nonBlock(stream: StreamConfig): Cost;
}

export function costModel(profile: HardwareProfile, w: Workload): CostModel {
  const remembered = new Map<string, readonly [prefill: Quantity, decode: Quantity]>();
  const times = (operator: Operator): readonly [Quantity, Quantity] => {
    const key = JSON.stringify(operator);
    let found = remembered.get(key);
    if (found === undefined) {
      found = [prefillTime(profile, w, operator), decodeTime(profile, w, operator)];
      remembered.set(key, found);
    }
    return found;
  };

  return {
    workload: w,
    profile,
    block({ weights, kvElementsPerToken, operators }) {
      const window = operators.reduce<number | undefined>(
        (w, o) => (o.kind === 'attention' ? o.window : w),
        undefined,
      );
      const kvHeads = operators.reduce((h, o) => (o.kind === 'attention' ? o.kvHeads : h), w.tensorParallel);
      // A device holds at least one whole KV head, so heads are copied where there are fewer than devices.
      const devicesSharingKv = Math.min(w.tensorParallel, kvHeads);
      const weightBytes = weights.reduce((bytes, shape) => bytes + tensorBytes(shape, w.weights), 0);
      return {
        parameters: elements(weights),
        weightBytes: weightBytes / w.tensorParallel,
        kvBytes:
          (w.batch * cachedTokens(w, window) * kvElementsPerToken * elementBytes(w.kv)) / devicesSharingKv,
        prefillMs: sum(operators.map((o) => times(o)[0])),
        decodeMs: sum(operators.map((o) => times(o)[1])),
      };
    },
    nonBlock(stream) {
      const { vocabularySize, hidden, tiedEmbeddings } = stream;
      const matrices: Shape[] = tiedEmbeddings
        ? [[vocabularySize, hidden]]
        : [
            [vocabularySize, hidden],
            [vocabularySize, hidden],
          ];
      const format = w.embeddings ?? w.weights;
      const weightBytes =
        matrices.reduce((bytes, shape) => bytes + tensorBytes(shape, format), 0) / w.tensorParallel +
        tensorBytes([hidden], w.weights);
      // Only the last token of each prompt needs logits.
      const perStep = sum([
        gemmTime(profile, {
          m: w.batch,
          n: Math.ceil(vocabularySize / w.tensorParallel),
          k: hidden,
          kind: gemmKind(profile, format),
        }),
        streamingTime(profile, 4 * w.batch * hidden * elementBytes(w.activations)),
      ]);
      return {
        parameters: elements([...matrices, [hidden]]),
        weightBytes,
        kvBytes: 0,
        prefillMs: perStep,
        decodeMs: scale(perStep, w.outputTokens),
      };
    },
  };
}

function prefillTime(profile: HardwareProfile, w: Workload, operator: Operator): Quantity {
  const plan = prefillPlan(w);
  return operator.kind === 'attention'
    ? scale(timeOf(profile, w, operator, 'prefill', plan.sequences, w.inputTokens), plan.attentionPasses)
    : scale(timeOf(profile, w, operator, 'prefill', 1, plan.gemmTokens), plan.gemmPasses);
}

function decodeTime(profile: HardwareProfile, w: Workload, operator: Operator): Quantity {
  if (w.outputTokens === 0) return zero;
  if (operator.kind !== 'attention')
    return scale(timeOf(profile, w, operator, 'decode', w.batch, 1), w.outputTokens);
  // Lengths of one kernel share its error, so the bands add linearly, as the values do.
  const parts = decodeSteps(w).map(({ length, steps }) =>
    scale(timeOf(profile, w, operator, 'decode', w.batch, length), steps),
  );
  const total = sum(parts);
  return {
    ...total,
    errorBand: {
      low: parts.reduce((low, part) => low + part.errorBand.low, 0),
      high: parts.reduce((high, part) => high + part.errorBand.high, 0),
    },
  };
}

/** One operator once: `length` is tokens per sequence in prefill, cached tokens in decode of attention. */
function timeOf(
  profile: HardwareProfile,
  w: Workload,
  operator: Operator,
  phase: 'prefill' | 'decode',
  batch: number,
  length: number,
): Quantity {
  const tokens = phase === 'decode' ? w.batch : batch * length;
  const { activations, weights, tensorParallel: tp } = w;
  const bytes = elementBytes(activations);
  switch (operator.kind) {
    case 'gemm': {
      const n = operator.parallel === 'column' ? Math.ceil(operator.n / tp) : operator.n;
      const k = operator.parallel === 'row' ? Math.ceil(operator.k / tp) : operator.k;
      return gemmTime(profile, { kind: gemmKind(profile, weights), m: tokens, n, k });
    }
    case 'attention': {
      const { heads, kvHeads, headDim, window } = operator;
      return attentionTime(profile, {
        phase,
        format: attentionFormat(w),
        heads: Math.ceil(heads / tp),
        kvHeads: Math.max(1, Math.floor(kvHeads / tp)),
        headDim,
        ...(window === undefined ? {} : { window }),
        batch,
        length,
        kv: w.kv,
      });
    }
    case 'norm':
      return streamingTime(profile, 2 * tokens * operator.width * bytes);
    case 'elementwise':
      return streamingTime(profile, tokens * (operator.reads + operator.writes) * bytes);
    case 'all-reduce':
      return allReduceTime(profile, tokens * operator.elements * bytes, tp);
  }
}
