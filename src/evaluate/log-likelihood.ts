/** How likely a model holds the ends of token sequences. */
import type { Execution } from '../execution/index.ts';
import { judgeWindows } from './evaluate.ts';

export interface ScoredSequence {
  readonly ids: ArrayLike<number>;
  /** The first token that counts; at least 1, as the first of all is not predicted. */
  readonly from: number;
}

/** Lengths are rounded up to this, so that few shapes are compiled; what follows a token cannot change its scores. */
const lengthMultiple = 8;
/** Rows of one pass. */
const passRows = 1024;

/** Sum of log-probabilities of tokens `from`..N of each sequence. */
export async function logLikelihoods(
  model: Execution,
  sequences: readonly ScoredSequence[],
  onDone: (done: number) => void,
): Promise<Float64Array> {
  const sums = new Float64Array(sequences.length);
  const groups = new Map<number, number[]>(); // by padded length
  sequences.forEach(({ ids: { length } }, index) => {
    const padded = lengthMultiple * Math.max(1, Math.ceil(length / lengthMultiple));
    groups.set(padded, [...(groups.get(padded) ?? []), index]);
  });
  let done = 0;
  for (const [tokens, members] of groups) {
    const batch = Math.max(1, Math.floor(passRows / tokens));
    for (let start = 0; start < members.length; start += batch) {
      const part = members.slice(start, start + batch);
      const ids = new Int32Array(batch * tokens);
      part.forEach((index, row) => ids.set(Array.from(sequences[index]!.ids), row * tokens));
      const { logProbability } = await judgeWindows(model, ids, { batch, tokens });
      part.forEach((index, row) => {
        const { ids: own, from } = sequences[index]!;
        const [first, last] = [row * tokens + from - 1, row * tokens + own.length - 1];
        sums[index] = logProbability.subarray(first, last).reduce((sum, value) => sum + value, 0);
      });
      onDone((done += part.length));
    }
  }
  return sums;
}
