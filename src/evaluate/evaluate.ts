/** How good a model is on a text, and how near to its teacher: perplexity, KL, top-1 agreement, with intervals. */
import {
  embed,
  forward,
  judge,
  predict,
  releasePrediction,
  type Execution,
  type Judgement,
  type Prediction,
  type Windows,
} from '../execution/index.ts';
import type { Resident } from '../runtime/index.ts';
import { PuzzleError } from '../util/errors.ts';
import { meanInterval, type Interval } from '../util/interval.ts';
import { silent, type ReportProgress } from '../util/progress.ts';

/**
 * 95 % intervals by Student's t over windows, since the tokens of a window are not independent of each other; a single
 * window has nothing else to go by than its tokens.
 */
export interface Evaluation {
  /** Tokens read; each window predicts all of its tokens but the first. */
  readonly tokens: number;
  /** exp of the mean negative log-likelihood; its interval is that of the mean, exponentiated. */
  readonly perplexity: Interval;
  /** Mean KL(teacher || model) of the next-token distribution, nats. */
  readonly kl?: Interval;
  /** Share of tokens whose likeliest successor is the teacher's. */
  readonly top1Agreement?: Interval;
}

export interface EvaluateOptions {
  /** Tokens per window. Windows do not overlap and start with the text. */
  readonly window: number;
  /** Tokens to read at most; default: the whole text. Only whole windows are read. */
  readonly tokens?: number;
  /** Opened on the same runtime and worker; or what `predictText` keeps of it, for many students. */
  readonly teacher?: Execution | TextPredictions;
  readonly report?: ReportProgress;
  /** Name of the stage in progress reports. */
  readonly stage?: string;
}

/** A teacher's predictions for every pass over a text: made once, compared with any number of its students. */
export interface TextPredictions {
  readonly passes: readonly Prediction[];
}

/** @param ids the text's tokens, to be evaluated with the same window and tokens */
export async function predictText(
  teacher: Execution,
  ids: Int32Array,
  { window, tokens = ids.length }: Pick<EvaluateOptions, 'window' | 'tokens'>,
): Promise<TextPredictions> {
  const passes: Prediction[] = [];
  for (const { windows, from, to } of passesOver(ids.length, tokens, window)) {
    const last = await lastStream(teacher, ids.slice(from, to), windows);
    passes.push(await predict(teacher, last));
    await teacher.runtime.release(last);
  }
  return { passes };
}

export async function releaseTextPredictions(teacher: Execution, { passes }: TextPredictions): Promise<void> {
  for (const prediction of passes) await releasePrediction(teacher, prediction);
}

interface Pass {
  readonly windows: Windows;
  /** Tokens [from, to) of the text. */
  readonly from: number;
  readonly to: number;
}

function passesOver(available: number, wanted: number, window: number): readonly Pass[] {
  const count = windowCount(available, wanted, window);
  const perPass = Math.max(1, Math.floor(passRows / window));
  return Array.from({ length: Math.ceil(count / perPass) }, (_, pass) => {
    const [start, end] = [pass * perPass, Math.min(count, (pass + 1) * perPass)];
    return { windows: { batch: end - start, tokens: window }, from: start * window, to: end * window };
  });
}

/** Rows of one pass: products run at full speed, activations stay small. */
const passRows = 2048;

/**
 * Evaluates an opened model on an encoded text.
 * @param ids the text's tokens
 * @throws PuzzleError `bad-usage` where there is no whole window.
 */
export async function evaluate(
  model: Execution,
  ids: Int32Array,
  { window, tokens = ids.length, teacher, report = silent, stage = 'Evaluate' }: EvaluateOptions,
): Promise<Evaluation> {
  const passes = passesOver(ids.length, tokens, window);
  const total = passes.at(-1)!.to;
  const samples: Samples = { nll: [], kl: [], agreement: [] };
  report({ kind: 'stage-started', stage, total, unit: 'tokens' });
  for (const [pass, { windows, from, to }] of passes.entries()) {
    const known = teacher && 'passes' in teacher ? teacher.passes[pass]! : teacher;
    const judgement = await judgeWindows(model, ids.slice(from, to), windows, known);
    collect(samples, judgement, windows, total === window);
    report({ kind: 'advanced', stage, done: to });
  }
  const nll = meanInterval(samples.nll);
  const perplexity = { value: Math.exp(nll.value), low: Math.exp(nll.low), high: Math.exp(nll.high) };
  report({ kind: 'stage-finished', stage, note: `perplexity ${perplexity.value.toFixed(2)}` });
  return {
    tokens: total,
    perplexity,
    ...(teacher && {
      kl: meanInterval(samples.kl),
      top1Agreement: withinUnit(meanInterval(samples.agreement)),
    }),
  };
}

function windowCount(available: number, wanted: number, window: number): number {
  const count = Math.floor(Math.min(available, wanted) / window);
  if (count >= 1) return count;
  throw new PuzzleError('bad-usage', `There is no whole window of ${window} tokens.`, {
    at: available < window ? '--text' : '--tokens',
    value: Math.min(available, wanted),
    fix:
      available < window ? 'Give a longer text or a smaller --window.' : 'Raise --tokens or lower --window.',
  });
}

/** Judges windows that run together, as `window` tokens after window. */
export async function judgeWindows(
  model: Execution,
  tokens: Int32Array,
  windows: Windows,
  teacher?: Execution | Prediction,
): Promise<Judgement> {
  const targets = Int32Array.from(tokens, (_, i) => tokens[i + 1] ?? 0); // the last of each window is ignored
  const last = await lastStream(model, tokens, windows);
  if (teacher === undefined || 'expected' in teacher) {
    const judgement = await judge(model, last, targets, teacher);
    await model.runtime.release(last);
    return judgement;
  }
  const teacherLast = await lastStream(teacher, tokens, windows);
  const prediction = await predict(teacher, teacherLast, model.stream.head);
  const judgement = await judge(model, last, targets, prediction);
  await releasePrediction(teacher, prediction);
  await model.runtime.release(last, teacherLast);
  return judgement;
}

async function lastStream(model: Execution, tokens: Int32Array, windows: Windows): Promise<Resident> {
  const first = await embed(model, tokens, windows);
  const last = await forward(model, first, windows);
  if (last !== first) await model.runtime.release(first);
  return last;
}

/** Of each window, or of each token where there is one window only. */
interface Samples {
  readonly nll: number[];
  readonly kl: number[];
  readonly agreement: number[];
}

function collect(
  samples: Samples,
  { logProbability, kl, agreement }: Judgement,
  { batch, tokens }: Windows,
  isOnly: boolean,
): void {
  for (let window = 0; window < batch; window++) {
    const add = (to: number[], values: Float32Array | Uint8Array): void => {
      const predicted = Array.from(values.subarray(window * tokens, (window + 1) * tokens - 1));
      to.push(
        ...(isOnly ? predicted : [predicted.reduce((sum, value) => sum + value, 0) / predicted.length]),
      );
    };
    add(
      samples.nll,
      logProbability.map((value) => -value),
    );
    if (kl) add(samples.kl, kl);
    if (agreement) add(samples.agreement, agreement);
  }
}

const withinUnit = ({ value, low, high }: Interval): Interval => ({
  value,
  low: Math.max(0, low),
  high: Math.min(1, high),
});
