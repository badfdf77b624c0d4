/** Minimal pairs (BLiMP, TACL 2020): of two sentences that differ in one point, does the model prefer the right one? */
import { z } from 'zod';
import type { Execution } from '../execution/index.ts';
import { PuzzleError } from '../util/errors.ts';
import { shareInterval, type Interval } from '../util/interval.ts';
import { checkAgainst, parseJson } from '../util/json.ts';
import { silent, type ReportProgress } from '../util/progress.ts';
import { judgeWindows } from './evaluate.ts';

export interface Pair {
  readonly good: string;
  readonly bad: string;
}

export interface PairsResult {
  readonly count: number;
  /** Share of pairs whose good sentence has the larger sum of log-probabilities of tokens 2..N; 95 % by Wilson. */
  readonly accuracy: Interval;
}

/** BLiMP's lines carry labels besides the sentences; they are none of our business. */
const lineSchema = z.looseObject({ sentence_good: z.string().min(1), sentence_bad: z.string().min(1) });

/**
 * Pairs from JSON lines with `sentence_good` and `sentence_bad`.
 * @throws PuzzleError `file-invalid` naming the line.
 */
export function parsePairs(text: string, path: string): readonly Pair[] {
  const pairs = text.split('\n').flatMap((line, index) => {
    if (line.trim() === '') return [];
    const at = `${path}: line ${index + 1}`;
    const fix = 'Each line is a JSON object with sentence_good and sentence_bad.';
    const { sentence_good: good, sentence_bad: bad } = checkAgainst(lineSchema, parseJson(line, at), at, fix);
    return [{ good, bad }];
  });
  if (pairs.length > 0) return pairs;
  throw new PuzzleError('file-invalid', 'There are no pairs.', {
    at: path,
    fix: 'Give a file with at least one line.',
  });
}

export interface PairsOptions {
  readonly report?: ReportProgress;
  readonly stage?: string;
}

/** @param encode the model's tokenizer, without special tokens around */
export async function evaluatePairs(
  model: Execution,
  pairs: readonly Pair[],
  encode: (text: string) => ArrayLike<number>,
  { report = silent, stage = 'Pairs' }: PairsOptions = {},
): Promise<PairsResult> {
  const sentences = pairs.flatMap(({ good, bad }) => [encode(good), encode(bad)]);
  report({ kind: 'stage-started', stage, total: sentences.length, unit: 'sentences' });
  const sums = await logLikelihoods(model, sentences, (done) => report({ kind: 'advanced', stage, done }));
  const right = pairs.filter((_, i) => sums[2 * i]! > sums[2 * i + 1]!).length;
  const accuracy = shareInterval(right, pairs.length);
  report({ kind: 'stage-finished', stage, note: `${(100 * accuracy.value).toFixed(1)} % right` });
  return { count: pairs.length, accuracy };
}

/** Lengths are rounded up to this, so that few shapes are compiled; what follows a token cannot change its scores. */
const lengthMultiple = 8;
/** Rows of one pass. */
const passRows = 1024;

/** Sum of log-probabilities of tokens 2..N of each sentence. */
async function logLikelihoods(
  model: Execution,
  sentences: readonly ArrayLike<number>[],
  onDone: (done: number) => void,
): Promise<Float64Array> {
  const sums = new Float64Array(sentences.length);
  const groups = new Map<number, number[]>(); // by padded length
  sentences.forEach(({ length }, index) => {
    const padded = lengthMultiple * Math.max(1, Math.ceil(length / lengthMultiple));
    groups.set(padded, [...(groups.get(padded) ?? []), index]);
  });
  let done = 0;
  for (const [tokens, members] of groups) {
    const batch = Math.max(1, Math.floor(passRows / tokens));
    for (let start = 0; start < members.length; start += batch) {
      const part = members.slice(start, start + batch);
      const ids = new Int32Array(batch * tokens);
      part.forEach((index, row) => ids.set(Array.from(sentences[index]!), row * tokens));
      const { logProbability } = await judgeWindows(model, ids, { batch, tokens });
      part.forEach((index, row) => {
        const last = row * tokens + sentences[index]!.length - 1;
        sums[index] = logProbability.slice(row * tokens, last).reduce((sum, value) => sum + value, 0);
      });
      onDone((done += part.length));
    }
  }
  return sums;
}
