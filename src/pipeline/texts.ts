/** The texts of a run, as token windows: one to distil on, others that take no part in any fit. */
import { bundledText } from '../model/bundled-text.ts';
import { cutWindows, readTokens, type Tokenizer, type TokenWindows } from '../model/index.ts';
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
  /** Damages are measured on it. */
  readonly score: RunText;
  /** Reported figures, and nothing else. */
  readonly evaluation: readonly RunText[];
}

/** Shares of a single text that are held out for scores and for evaluation, at its end. */
const [scoreShare, evaluationShare] = [0.05, 0.05];

/**
 * Encodes and cuts the texts. The validation windows are the ones after the calibration windows of the same text.
 * @throws PuzzleError `file-missing`, `text-invalid`, `text-too-short`
 */
export async function loadTexts(options: TextOptions, tokenizer: Tokenizer): Promise<RunTexts> {
  const { window, scoreText, evaluationTexts } = options;
  const { distil, score, evaluation } = await sources(options, tokenizer);
  const wholeWindows = (tokens: number): number => Math.max(1, Math.floor(tokens / window));
  const cut = ({ name, ids }: Source, tokens: number): RunText =>
    runText(name, cutWindows(ids, window, wholeWindows(tokens), name));
  // A text shorter than asked is used whole; a tenth of it still validates.
  const validationWindows = Math.min(
    wholeWindows(options.validationTokens),
    Math.max(1, Math.floor(distil.ids.length / window / 10)),
  );
  const calibrationWindows = Math.min(
    wholeWindows(options.calibrationTokens),
    Math.floor(distil.ids.length / window) - validationWindows,
  );
  const all = cutWindows(
    distil.ids,
    window,
    Math.max(1, calibrationWindows) + validationWindows,
    distil.name,
  );
  const boundary = (all.count - validationWindows) * window;
  return {
    calibration: runText(distil.name, { window, count: boundary / window, ids: all.ids.slice(0, boundary) }),
    validation: runText(distil.name, { window, count: validationWindows, ids: all.ids.slice(boundary) }),
    score: cut(await read(scoreText, tokenizer, score), options.scoreTokens),
    evaluation: await Promise.all(
      (evaluationTexts ?? [undefined]).map(async (path) =>
        cut(await read(path, tokenizer, evaluation), options.evaluationTokens),
      ),
    ),
  };
}

interface Source {
  readonly name: string;
  readonly ids: Int32Array;
}

async function sources(
  { text }: TextOptions,
  tokenizer: Tokenizer,
): Promise<{ distil: Source; score: Source; evaluation: Source }> {
  if (text === undefined) {
    const splits = bundledText();
    const encoded = (name: string, part: string): Source => ({
      name: `bundled ${name} text`,
      ids: tokenizer.encode(part),
    });
    return {
      distil: encoded('training', splits.train),
      score: encoded('validation', splits.validation),
      evaluation: encoded('evaluation', splits.evaluation),
    };
  }
  const ids = await readTokens([text], tokenizer);
  const scoreFrom = Math.floor(ids.length * (1 - scoreShare - evaluationShare));
  const evaluationFrom = Math.floor(ids.length * (1 - evaluationShare));
  return {
    distil: { name: text, ids: ids.subarray(0, scoreFrom) },
    score: { name: `${text} (held out)`, ids: ids.subarray(scoreFrom, evaluationFrom) },
    evaluation: { name: `${text} (held out)`, ids: ids.subarray(evaluationFrom) },
  };
}

async function read(path: string | undefined, tokenizer: Tokenizer, otherwise: Source): Promise<Source> {
  return path === undefined ? otherwise : { name: path, ids: await readTokens([path], tokenizer) };
}

const runText = (name: string, windows: TokenWindows): RunText => ({
  ...windows,
  name,
  hash: sha256(
    `${windows.window}:${sha256(new Uint8Array(windows.ids.buffer, windows.ids.byteOffset, windows.ids.byteLength))}`,
  ),
});
