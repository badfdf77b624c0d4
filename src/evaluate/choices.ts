/** Multiple choice (HellaSwag, arXiv 1905.07830; ARC, arXiv 1803.05457): does the model hold the right ending likeliest? */
import { z } from 'zod';
import type { Execution } from '../execution/index.ts';
import { shareInterval, type Interval } from '../util/interval.ts';
import { silent, type ReportProgress } from '../util/progress.ts';
import { parseLines } from './json-lines.ts';
import { logLikelihoods, type ScoredSequence } from './log-likelihood.ts';

export interface Question {
  readonly context: string;
  readonly endings: readonly string[];
  /** Index of the right ending. */
  readonly label: number;
}

export interface ChoicesResult {
  readonly count: number;
  /** Share of questions whose right ending has the largest log-likelihood; 95 % by Wilson. */
  readonly accuracy: Interval;
  /** The same with log-likelihoods divided by the endings' UTF-8 bytes, so that short ones are not preferred. */
  readonly normalisedAccuracy: Interval;
}

const text = z.string().min(1);

const questionSchema = z
  .looseObject({
    context: text,
    endings: z.array(text).min(2),
    label: z.union([z.int(), z.string().regex(/^\d+$/).transform(Number)]),
  })
  .transform(({ context, endings, label }): Question => ({ context, endings, label }))
  .refine(({ endings, label }) => label >= 0 && label < endings.length, {
    path: ['label'],
    message: 'names none of the endings',
  });

/** HellaSwag calls the context `ctx`; ARC names the right one of its lettered choices. */
const arcSchema = z.looseObject({
  question: text,
  choices: z.looseObject({ text: z.array(text), label: z.array(z.string()) }),
  answerKey: z.string(),
});
const hellaSwagSchema = z.looseObject({ ctx: text });

const lineSchema = z.preprocess((line) => {
  const hellaSwag = hellaSwagSchema.safeParse(line).data;
  if (hellaSwag !== undefined) return { ...hellaSwag, context: hellaSwag.ctx };
  const arc = arcSchema.safeParse(line).data;
  if (arc === undefined) return line;
  const { question, choices, answerKey } = arc;
  return {
    context: `Question: ${question}\nAnswer:`,
    endings: choices.text,
    label: choices.label.indexOf(answerKey),
  };
}, questionSchema);

/**
 * Questions from JSON lines with `context`, `endings` and `label`; HellaSwag's (`ctx`) and ARC's (`question`, `choices`,
 * `answerKey`) as they are published.
 * @throws PuzzleError `file-invalid` naming the line
 */
export const parseChoices = (lines: string, path: string): readonly Question[] =>
  parseLines(lineSchema, lines, path, 'Each line is a JSON object with context, endings and label.');

export interface ChoicesOptions {
  readonly report?: ReportProgress;
  readonly stage?: string;
}

/** @param encode the model's tokenizer */
export async function evaluateChoices(
  model: Execution,
  questions: readonly Question[],
  encode: (text: string) => Int32Array,
  { report = silent, stage = 'Choices' }: ChoicesOptions = {},
): Promise<ChoicesResult> {
  const { contextLength } = model.architecture.stream;
  const sequences = questions.flatMap(({ context, endings: given }) =>
    given.map((ending) => continued(context, ending, encode, contextLength)),
  );
  report({ kind: 'stage-started', stage, total: sequences.length, unit: 'endings' });
  const sums = await logLikelihoods(model, sequences, (done) => report({ kind: 'advanced', stage, done }));
  let first = 0;
  const right = { plain: 0, normalised: 0 };
  for (const { endings: given, label } of questions) {
    const likelihoods = Array.from(sums.subarray(first, (first += given.length)));
    const perByte = likelihoods.map((sum, i) => sum / Buffer.byteLength(given[i]!));
    if (largest(likelihoods) === label) right.plain++;
    if (largest(perByte) === label) right.normalised++;
  }
  const accuracy = shareInterval(right.plain, questions.length);
  report({ kind: 'stage-finished', stage, note: `${(100 * accuracy.value).toFixed(1)} % right` });
  return {
    count: questions.length,
    accuracy,
    normalisedAccuracy: shareInterval(right.normalised, questions.length),
  };
}

/** An ending after its context and one space. Of what exceeds the model's context the beginning is dropped. */
function continued(
  context: string,
  ending: string,
  encode: (text: string) => Int32Array,
  contextLength: number,
): ScoredSequence {
  const joint = /\s$/.test(context) || /^\s/.test(ending) ? '' : ' ';
  const all = encode(`${context}${joint}${ending}`);
  const ids = all.slice(-contextLength);
  const from = encode(context).length - (all.length - ids.length);
  // A last word of the context that the ending changes belongs to the ending; the first token is never predicted.
  return { ids, from: Math.max(1, Math.min(from, ids.length - 1)) };
}

const largest = (values: readonly number[]): number => values.indexOf(Math.max(...values));
