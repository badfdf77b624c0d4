/** The texts of a run, as token windows: one to distil on, others that take no part in any fit. */
import { bundledText } from '../model/bundled-text.ts';
import { cutWindows, type Tokenizer, type TokenWindows } from '../model/index.ts';
import { readText } from '../tensor/index.ts';
import { PuzzleError } from '../util/errors.ts';
import { sha256 } from '../util/hash.ts';

export interface TextOptions {
  /** Text to distil on; the bundled text if absent. */
  readonly text?: string | undefined;
  /** Text to score blocks on; a held-out part of `text` if absent. */
  readonly scoreText?: string | undefined;
  /** Texts to evaluate students on; a held-out part of `text` if absent. */
  readonly evaluationTexts?: readonly string[] | undefined;
  /** Tokens per window, of all texts. */
  readonly window: number;
  readonly calibrationTokens: number;
  readonly validationTokens: number;
  readonly scoreTokens: number;
  /** After the score tokens of the same text. */
  readonly selectionTokens: number;
  /** From the start of each evaluation text. */
  readonly evaluationTokens: number;
}

/** Windows with what identifies them. */
export interface RunText extends TokenWindows {
  readonly name: string;
  /** Of the ids and their cutting. */
  readonly hash: string;
}

export interface RunTexts {
  /** Blocks are fitted on it. */
  readonly calibration: RunText;
  /** Decides between starts and stops distillation. */
  readonly validation: RunText;
  /** Damages of blocks are measured on it. */
  readonly score: RunText;
  /** Decides between assembled students. */
  readonly selection: RunText;
  /** Reported figures, and nothing else. */
  readonly evaluation: readonly RunText[];
}

/** Shares of a single text that are held out for scores and for evaluation, at its end. */
const [scoreShare, evaluationShare] = [0.05, 0.05];

/**
 * Encodes and cuts the texts, no more of them than is used. The validation windows are the ones after the calibration
 * windows of the same text; a text shorter than asked is used whole, and a tenth of it still validates.
 * @throws PuzzleError `file-missing`, `text-invalid`, `text-too-short`
 */
export async function loadTexts(options: TextOptions, tokenizer: Tokenizer): Promise<RunTexts> {
  const { window, scoreText, evaluationTexts } = options;
  const wholeWindows = (tokens: number): number => Math.max(1, Math.floor(tokens / window));
  const { distil, score, evaluation } = await sources(options);
  const cut = ({ name, text }: Source, tokens: number): RunText => {
    const count = wholeWindows(tokens);
    return runText(name, cutWindows(tokenizer.encode(text, count * window), window, count, name));
  };
  const wanted = wholeWindows(options.calibrationTokens) + wholeWindows(options.validationTokens);
  const all = cutWindows(tokenizer.encode(distil.text, wanted * window), window, undefined, distil.name);
  const validating = Math.min(
    wholeWindows(options.validationTokens),
    Math.max(1, Math.floor(all.count / 10)),
  );
  if (all.count < 2) cutWindows(all.ids, window, 2, distil.name); // explains how many tokens two windows take
  const boundary = all.count - validating;
  const whole = runText(distil.name, all);
  return {
    calibration: windowsOf(whole, 0, boundary),
    validation: windowsOf(whole, boundary, all.count),
    ...scoreAndSelection(scoreText === undefined ? score : await readSource(scoreText), options, tokenizer),
    evaluation:
      evaluationTexts === undefined
        ? [cut(evaluation, options.evaluationTokens)]
        : (await Promise.all(evaluationTexts.map(readSource))).map((text) =>
            cut(text, options.evaluationTokens),
          ),
  };
}

/** Windows for scores, then windows for the selection; a text shorter than asked is shared out in proportion. */
function scoreAndSelection(
  { name, text }: Source,
  { window, scoreTokens, selectionTokens }: TextOptions,
  tokenizer: Tokenizer,
): Pick<RunTexts, 'score' | 'selection'> {
  const ids = tokenizer.encode(text, scoreTokens + selectionTokens);
  const count = Math.max(2, Math.floor(Math.min(ids.length, scoreTokens + selectionTokens) / window));
  const all = runText(name, cutWindows(ids, window, count, name));
  const share = scoreTokens / (scoreTokens + selectionTokens);
  const boundary = Math.min(count - 1, Math.max(1, Math.round(count * share)));
  return { score: windowsOf(all, 0, boundary), selection: windowsOf(all, boundary, count) };
}

/** Windows [from, to) of a text. */
export const windowsOf = ({ name, window, ids }: RunText, from: number, to: number): RunText =>
  runText(name, { window, count: to - from, ids: ids.slice(from * window, to * window) });

interface Source {
  readonly name: string;
  readonly text: string;
}

async function sources({
  text: path,
}: TextOptions): Promise<{ distil: Source; score: Source; evaluation: Source }> {
  if (path === undefined) {
    const { train, validation, evaluation } = bundledText();
    return {
      distil: { name: 'bundled training text', text: train },
      score: { name: 'bundled validation text', text: validation },
      evaluation: { name: 'bundled evaluation text', text: evaluation },
    };
  }
  const { text } = await readSource(path);
  const scoreFrom = paragraphAfter(text, Math.floor(text.length * (1 - scoreShare - evaluationShare)));
  const evaluationFrom = paragraphAfter(text, Math.floor(text.length * (1 - evaluationShare)));
  return {
    distil: { name: path, text: text.slice(0, scoreFrom) },
    score: { name: `${path} (held out)`, text: text.slice(scoreFrom, evaluationFrom) },
    evaluation: { name: `${path} (held out)`, text: text.slice(evaluationFrom) },
  };
}

/** Start of the first paragraph at or after a position; the position itself where there is none. */
function paragraphAfter(text: string, position: number): number {
  const blank = text.indexOf('\n\n', position);
  return blank < 0 ? position : blank + 2;
}

async function readSource(path: string): Promise<Source> {
  const text = await readText(path);
  if (text.trim() !== '') return { name: path, text };
  throw new PuzzleError('text-invalid', `${path} holds no text.`, {
    at: path,
    fix: 'Name a file with text in it.',
  });
}

const runText = (name: string, windows: TokenWindows): RunText => ({
  ...windows,
  name,
  hash: sha256(
    `${windows.window}:${sha256(new Uint8Array(windows.ids.buffer, windows.ids.byteOffset, windows.ids.byteLength))}`,
  ),
});
