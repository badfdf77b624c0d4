/** How good a model is on a text, and how near to its teacher: perplexity, KL, agreement, with intervals. */
import {
  embed,
  forward,
  judge,
  predict,
  releasePrediction,
  type Execution,
  type JudgeOptions,
  type Judgement,
  type Prediction,
  type Windows,
} from '../execution/index.ts';
import type { Resident } from '../runtime/index.ts';
import { PuzzleError } from '../util/errors.ts';
import { groupedMeanInterval, type Interval } from '../util/interval.ts';
import { silent, type ReportProgress } from '../util/progress.ts';

/**
 * 95 % intervals by Student's t over windows, since the tokens of a window are not independent of each other; a single
 * window has nothing else to go by than its tokens.
 */
export interface Evaluation {
  /** Tokens read. */
  readonly tokens: number;
  /** exp of the mean negative log-likelihood; its interval is that of the mean, exponentiated. */
  readonly perplexity: Interval;
  /** UTF-8 bytes of the tokens that were predicted; where `decode` is given. */
  readonly bytes?: number;
  /** The same likelihood shared among those bytes, which compares models of different vocabularies. */
  readonly perplexityPerByte?: Interval;
  /** Mean KL(teacher || model) of the next-token distribution, nats. */
  readonly kl?: Interval;
  /** Share of predictions whose likeliest token is the teacher's. */
  readonly top1Agreement?: Interval;
  /** Share of predictions with the teacher's likeliest token among the model's five likeliest; where `ranks` is set. */
  readonly top5Agreement?: Interval;
  readonly top10Agreement?: Interval;
}

export interface EvaluateOptions {
  /** Tokens per window. */
  readonly window: number;
  /**
   * Tokens from one window's start to the next one's; default: `window`, so that windows do not overlap. A window
   * predicts what no window before it did, the first one all but its first token; with a stride below `window` every
   * token but that one is predicted once, from `window - stride` tokens at least.
   */
  readonly stride?: number;
  /** Tokens to read at most; default: the whole text. Only whole windows are read. */
  readonly tokens?: number;
  /** Opened on the same runtime and worker; or what `predictText` keeps of it, for many students. */
  readonly teacher?: Execution | TextPredictions;
  /** Compare the teacher's likeliest token with the model's five and ten likeliest too. */
  readonly ranks?: boolean;
  /** Text of token ids; gives the figures per byte. */
  readonly decode?: (ids: Iterable<number>) => string;
  readonly report?: ReportProgress;
  /** Name of the stage in progress reports. */
  readonly stage?: string;
}

/** A teacher's predictions for every pass over a text: made once, compared with any number of its students. */
export interface TextPredictions {
  readonly passes: readonly Prediction[];
}

/** @param ids the text's tokens, to be evaluated with the same window, stride and tokens */
export async function predictText(
  teacher: Execution,
  ids: Int32Array,
  span: Pick<EvaluateOptions, 'window' | 'stride' | 'tokens'>,
): Promise<TextPredictions> {
  const passes: Prediction[] = [];
  for (const { windows, tokens } of passesOver(ids, span)) {
    const last = await lastStream(teacher, tokens, windows);
    passes.push(await predict(teacher, last));
    await teacher.runtime.release(last);
  }
  return { passes };
}

export async function releaseTextPredictions(teacher: Execution, { passes }: TextPredictions): Promise<void> {
  for (const prediction of passes) await releasePrediction(teacher, prediction);
}

/** Windows that run together. */
interface Pass {
  readonly windows: Windows;
  /** Of all its windows, one after the other. */
  readonly tokens: Int32Array;
  /** Tokens of each window that are not predicted: its first, and those that windows before it predict. */
  readonly given: readonly number[];
  /** Tokens of the text up to the pass's end. */
  readonly end: number;
}

/** Rows of one pass: products run at full speed, activations stay small. */
const passRows = 2048;

function passesOver(
  ids: Int32Array,
  { window, stride = window, tokens = ids.length }: Pick<EvaluateOptions, 'window' | 'stride' | 'tokens'>,
): readonly Pass[] {
  const count = windowCount(ids.length, tokens, window, stride);
  const perPass = Math.max(1, Math.floor(passRows / window));
  return Array.from({ length: Math.ceil(count / perPass) }, (_, pass) => {
    const numbers = Array.from(
      { length: Math.min(perPass, count - pass * perPass) },
      (__, i) => pass * perPass + i,
    );
    const all = new Int32Array(numbers.length * window);
    numbers.forEach((n, row) => all.set(ids.subarray(n * stride, n * stride + window), row * window));
    return {
      windows: { batch: numbers.length, tokens: window },
      tokens: all,
      given: numbers.map((n) => (n === 0 ? 1 : Math.max(1, window - stride))),
      end: numbers.at(-1)! * stride + window,
    };
  });
}

/**
 * Evaluates an opened model on an encoded text.
 * @param ids the text's tokens
 * @throws PuzzleError `bad-usage` where there is no whole window, or a stride that leaves tokens out.
 */
export async function evaluate(
  model: Execution,
  ids: Int32Array,
  { teacher, ranks = false, decode, report = silent, stage = 'Evaluate', ...span }: EvaluateOptions,
): Promise<Evaluation> {
  const passes = passesOver(ids, span);
  const total = passes.at(-1)!.end;
  const samples: Samples = { nll: [], kl: [], agreement: [], rank: [] };
  let bytes = 0;
  report({ kind: 'stage-started', stage, total, unit: 'tokens' });
  for (const [index, pass] of passes.entries()) {
    const known = teacher && 'passes' in teacher ? teacher.passes[index]! : teacher;
    const judgement = await judgeWindows(model, pass.tokens, pass.windows, known, { ranks });
    collect(samples, judgement, pass);
    if (decode !== undefined) bytes += predictedBytes(pass, decode);
    report({ kind: 'advanced', stage, done: pass.end });
  }
  const nll = groupedMeanInterval(samples.nll);
  const predictions = samples.nll.reduce((sum, { length }) => sum + length, 0);
  const perplexity = exponential(nll);
  const within = (k: number): Interval =>
    share(samples.rank.map((window) => window.map((rank) => Number(rank < k))));
  report({ kind: 'stage-finished', stage, note: `perplexity ${perplexity.value.toFixed(2)}` });
  return {
    tokens: total,
    perplexity,
    ...(decode && { bytes, perplexityPerByte: exponential(nll, predictions / bytes) }),
    ...(teacher && { kl: groupedMeanInterval(samples.kl), top1Agreement: share(samples.agreement) }),
    ...(teacher && ranks && { top5Agreement: within(5), top10Agreement: within(10) }),
  };
}

function windowCount(available: number, wanted: number, window: number, stride: number): number {
  if (!Number.isInteger(stride) || stride < 1 || stride > window) {
    throw new PuzzleError('bad-usage', `A stride of ${stride} does not fit a window of ${window} tokens.`, {
      at: '--stride',
      value: stride,
      fix: `Give a whole number from 1 to ${window}.`,
    });
  }
  const count = 1 + Math.floor((Math.min(available, wanted) - window) / stride);
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
  options?: JudgeOptions,
): Promise<Judgement> {
  const targets = Int32Array.from(tokens, (_, i) => tokens[i + 1] ?? 0); // the last of each window is ignored
  const last = await lastStream(model, tokens, windows);
  if (teacher === undefined || 'expected' in teacher) {
    const judgement = await judge(model, last, targets, teacher, options);
    await model.runtime.release(last);
    return judgement;
  }
  const teacherLast = await lastStream(teacher, tokens, windows);
  const prediction = await predict(teacher, teacherLast, model.stream.head);
  const judgement = await judge(model, last, targets, prediction, options);
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

/** Of each window, what its predictions came to. */
interface Samples {
  readonly nll: number[][];
  readonly kl: number[][];
  readonly agreement: number[][];
  readonly rank: number[][];
}

function collect(
  samples: Samples,
  { logProbability, kl, agreement, rank }: Judgement,
  { windows, given }: Pass,
): void {
  for (const [window, from] of given.entries()) {
    // What follows a token is predicted in its row.
    const rows = [window * windows.tokens + from - 1, (window + 1) * windows.tokens - 1] as const;
    samples.nll.push(Array.from(logProbability.subarray(...rows), (value) => -value));
    if (kl) samples.kl.push(Array.from(kl.subarray(...rows)));
    if (agreement) samples.agreement.push(Array.from(agreement.subarray(...rows)));
    if (rank) samples.rank.push(Array.from(rank.subarray(...rows)));
  }
}

/** UTF-8 bytes of what a pass predicts. A character cut by a window's border counts as its replacement, U+FFFD. */
const predictedBytes = (
  { windows, tokens, given }: Pass,
  decode: (ids: Iterable<number>) => string,
): number =>
  given.reduce((sum, from, window) => {
    const own = tokens.subarray(window * windows.tokens, (window + 1) * windows.tokens);
    return sum + Buffer.byteLength(decode(own)) - Buffer.byteLength(decode(own.subarray(0, from)));
  }, 0);

const exponential = ({ value, low, high }: Interval, scale = 1): Interval => ({
  value: Math.exp(scale * value),
  low: Math.exp(scale * low),
  high: Math.exp(scale * high),
});

function share(groups: readonly (readonly number[])[]): Interval {
  const { value, low, high } = groupedMeanInterval(groups);
  return { value, low: Math.max(0, low), high: Math.min(1, high) };
}
