/** What one block, or the part of a model outside its blocks, costs under a workload. */
import type { Operator } from '../blocks/operators.ts';
import type { StreamConfig } from '../model/architecture.ts';
import type { Shape } from '../tensor/tensor.ts';
import { PuzzleError } from '../util/errors.ts';
import type { BlockShape } from './block-shape.ts';
import { callTime } from './call-time.ts';
import { elementBytes, tensorBytes } from './number-format.ts';
import { decodeCalls, headCalls, prefillCalls } from './operator-calls.ts';
import type { RepeatedCall } from './operator-calls.ts';
import type { HardwareProfile } from './profile.ts';
import { scale, sum, sumOfOneKind } from './quantity.ts';
import type { Quantity } from './quantity.ts';
import { cachedTokens } from './workload.ts';
import type { Workload } from './workload.ts';

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
  /** @throws PuzzleError `bad-usage` where the devices cannot share its heads */
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
      found = [
        timeOfCalls(profile, prefillCalls(profile, w, operator)),
        timeOfCalls(profile, decodeCalls(profile, w, operator)),
      ];
      remembered.set(key, found);
    }
    return found;
  };

  return {
    workload: w,
    profile,
    block({ weights, kvElementsPerToken, operators }) {
      requireWholeHeads(operators, w);
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
      const perStep = sum(headCalls(profile, w, stream).map((kernel) => callTime(profile, kernel)));
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

/** Calls of one kernel: its error repeats, so bands add as the values do. */
function timeOfCalls(profile: HardwareProfile, calls: readonly RepeatedCall[]): Quantity {
  const parts = calls.map(({ kernel, times }) => scale(callTime(profile, kernel), times));
  return parts.length === 1 ? parts[0]! : sumOfOneKind(parts);
}

/** @throws PuzzleError `bad-usage` where devices cannot share the heads evenly. */
function requireWholeHeads(operators: readonly Operator[], { tensorParallel }: Workload): void {
  for (const operator of operators) {
    if (operator.kind !== 'attention') continue;
    const { heads, kvHeads } = operator;
    if (heads % tensorParallel === 0 && (kvHeads % tensorParallel === 0 || tensorParallel % kvHeads === 0))
      continue;
    throw new PuzzleError(
      'bad-usage',
      `${heads} heads over ${kvHeads} KV heads do not divide over ${tensorParallel} devices.`,
      {
        at: '--tp',
        value: tensorParallel,
        fix: 'Give a tensor-parallel degree that divides the heads, and divides the KV heads or is a multiple of them.',
      },
    );
  }
}
