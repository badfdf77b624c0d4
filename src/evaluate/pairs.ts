/** Minimal pairs (BLiMP, TACL 2020): of two sentences that differ in one point, does the model prefer the right one? */
import { z } from 'zod';
import type { Execution } from '../execution/index.ts';
import { shareInterval, type Interval } from '../util/interval.ts';
import { silent, type ReportProgress } from '../util/progress.ts';
import { parseLines } from './json-lines.ts';
import { logLikelihoods } from './log-likelihood.ts';

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
const lineSchema = z
  .looseObject({ sentence_good: z.string().min(1), sentence_bad: z.string().min(1) })
  .transform(({ sentence_good: good, sentence_bad: bad }): Pair => ({ good, bad }));

/**
 * Pairs from JSON lines with `sentence_good` and `sentence_bad`.
 * @throws PuzzleError `file-invalid` naming the line.
 */
export function parsePairs(text: string, path: string): readonly Pair[] {
  return parseLines(
    lineSchema,
    text,
    path,
    'Each line is a JSON object with sentence_good and sentence_bad.',
  );
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
  const sentences = pairs.flatMap(({ good, bad }) =>
    [good, bad].map((text) => ({ ids: encode(text), from: 1 })),
  );
  report({ kind: 'stage-started', stage, total: sentences.length, unit: 'sentences' });
  const sums = await logLikelihoods(model, sentences, (done) => report({ kind: 'advanced', stage, done }));
  const right = pairs.filter((_, i) => sums[2 * i]! > sums[2 * i + 1]!).length;
  const accuracy = shareInterval(right, pairs.length);
  report({ kind: 'stage-finished', stage, note: `${(100 * accuracy.value).toFixed(1)} % right` });
  return { count: pairs.length, accuracy };
}
