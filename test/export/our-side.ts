/** What our own forward says of a model on disk, for comparison with software that we did not write. */
import { evaluate } from '../../src/evaluate/index.ts';
import {
  checkpointSource,
  closeExecution,
  embed,
  forward,
  nextTokenLogProbabilities,
  openExecution,
  type Execution,
} from '../../src/execution/index.ts';
import { openModel, type Checkpoint } from '../../src/model/index.ts';
import { openRuntime } from '../../src/runtime/index.ts';

export interface OurSide {
  readonly checkpoint: Checkpoint;
  /** Log-probabilities of what follows the last of `ids`. */
  next(ids: Int32Array): Promise<Float32Array>;
  /** Of windows that do not overlap. */
  perplexity(ids: Int32Array, window: number): Promise<number>;
  /** The likeliest token after each of `ids` from place `from` on: what greedy decoding would have gone on with. */
  likeliest(ids: Int32Array, from: number): Promise<number[]>;
}

/** Runs `work` with the model at `path` on the CPU. */
export async function onOurSide<T>(path: string, work: (ours: OurSide) => Promise<T>): Promise<T> {
  const checkpoint = await openModel(path);
  const runtime = await openRuntime({ device: 'cpu' });
  try {
    const model = await openExecution(checkpointSource(checkpoint), runtime);
    try {
      return await work(sideOf(checkpoint, model));
    } finally {
      await closeExecution(model);
    }
  } finally {
    await runtime.close();
    await checkpoint.close();
  }
}

function sideOf(checkpoint: Checkpoint, model: Execution): OurSide {
  // Sequences are padded after their end, where nothing before it sees it: one compiled graph serves many lengths.
  const padTo = (length: number): number => Math.ceil(length / 64) * 64;
  const rows = async (ids: Int32Array, from: number): Promise<Float32Array[]> => {
    const tokens = padTo(ids.length);
    const padded = new Int32Array(tokens);
    padded.set(ids);
    const embedded = await embed(model, padded, { batch: 1, tokens });
    const stream = await forward(model, embedded, { batch: 1, tokens });
    const found: Float32Array[] = [];
    for (let row = from; row < ids.length; row++)
      found.push(await nextTokenLogProbabilities(model, stream, row));
    await model.runtime.release(embedded, stream);
    return found;
  };
  return {
    checkpoint,
    next: async (ids) => (await rows(ids, ids.length - 1))[0]!,
    perplexity: async (ids, window) => (await evaluate(model, ids, { window })).perplexity.value,
    likeliest: async (ids, from) =>
      (await rows(ids, from)).map((row) =>
        row.reduce((best, value, token) => (value > row[best]! ? token : best), 0),
      ),
  };
}

/** How many tokens of a greedy continuation are also ours, up to the first that is not. */
export async function greedyAgreement(
  ours: OurSide,
  start: Int32Array,
  continuation: readonly number[],
): Promise<number> {
  const all = Int32Array.of(...start, ...continuation.slice(0, -1));
  const mine = await ours.likeliest(all, start.length - 1);
  const differs = continuation.findIndex((token, i) => token !== mine[i]);
  return differs < 0 ? continuation.length : differs;
}

/** The largest difference among the `count` tokens that the other side holds likeliest. */
export function worstOfTop(ours: Float32Array, theirs: ReadonlyMap<number, number>, count: number): number {
  const likeliest = [...theirs].sort(([, a], [, b]) => b - a).slice(0, count);
  return Math.max(...likeliest.map(([token, logProbability]) => Math.abs(ours[token]! - logProbability)));
}
