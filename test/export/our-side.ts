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
  /** The likeliest token, `count` times over. */
  greedy(ids: Int32Array, count: number): Promise<number[]>;
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
  // Sequences are padded to one length, after their end where nothing before it sees it: one compiled graph serves all.
  const padTo = (length: number): number => Math.ceil(length / 64) * 64;
  const next: OurSide['next'] = async (ids) => {
    const tokens = padTo(ids.length);
    const padded = new Int32Array(tokens);
    padded.set(ids);
    const embedded = await embed(model, padded, { batch: 1, tokens });
    const stream = await forward(model, embedded, { batch: 1, tokens });
    const logProbabilities = await nextTokenLogProbabilities(model, stream, ids.length - 1);
    await model.runtime.release(embedded, stream);
    return logProbabilities;
  };
  return {
    checkpoint,
    next,
    perplexity: async (ids, window) => (await evaluate(model, ids, { window })).perplexity.value,
    async greedy(ids, count) {
      const all = Array.from(ids);
      while (all.length < ids.length + count) {
        const likely = await next(Int32Array.from(all));
        all.push(likely.indexOf(Math.max(...likely)));
      }
      return all.slice(ids.length);
    },
  };
}

/** The largest difference among the `count` tokens that the other side holds likeliest. */
export function worstOfTop(ours: Float32Array, theirs: ReadonlyMap<number, number>, count: number): number {
  const likeliest = [...theirs].sort(([, a], [, b]) => b - a).slice(0, count);
  return Math.max(...likeliest.map(([token, logProbability]) => Math.abs(ours[token]! - logProbability)));
}
