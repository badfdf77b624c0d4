/** The texts of a run, as token windows: one to distil on, others that take no part in any fit. */
import { bundledText } from '../model/bundled-text.ts';
import { cutWindows, type Tokenizer, type TokenWindows } from '../model/index.ts';
import { readText } from '../tensor/index.ts';
import { PuzzleError } from '../util/errors.ts';
import { sha256 } from '../util/hash.ts';

export interface TextOptions {
  /** Texts to distil on; the bundled text if absent. A path may be `bundled` or `own` in any of these. */
  readonly texts?: readonly WeightedText[] | undefined;
  /** Texts to score blocks and choose students on, in equal shares; held-out parts of `texts` if absent. */
  readonly scoreTexts?: readonly string[] | undefined;
  /** Texts to refit the student on, in equal shares; the windows that blocks were fitted on if absent. */
  readonly refitTexts?: readonly string[] | undefined;
  /** Texts to evaluate students on; held-out parts of `texts` if absent. */
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

export interface WeightedText {
  readonly path: string;
  /** Its share of the tokens is its weight over the sum of weights. */
  readonly weight: number;
}

/** The teacher's own text, for the purposes that it is asked for. */
export type OwnTexts = Readonly<Partial<Record<keyof Sources, string>>>;

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
  /** The student is refitted on it. */
  readonly refit: RunText;
  /** Reported figures, and nothing else. */
  readonly evaluation: readonly RunText[];
}

/** Shares of a text that are held out for scores and for evaluation, at its end. */
const [scoreShare, evaluationShare] = [0.05, 0.05];

/**
 * Encodes and cuts the texts, no more of them than is used. The validation windows of a text are the ones after its
 * calibration windows; a text shorter than asked is used whole, and a tenth of it still validates. Windows of several
 * texts take turns, in proportion to their weights.
 * @param sampleOwn answers with the teacher's own text once every file has been read
 * @throws PuzzleError `file-missing`, `text-invalid`, `text-too-short`
 */
export async function loadTexts(
  options: TextOptions,
  tokenizer: Tokenizer,
  sampleOwn: () => Promise<OwnTexts> = async () => ({}),
): Promise<RunTexts> {
  const { scoreTexts, refitTexts, evaluationTexts, window } = options;
  // Sampling takes minutes: a file that is not there is better known before.
  if (Object.keys(ownTokens(options)).length > 0) await requireFiles(options);
  const own = await sampleOwn();
  const parts = await Promise.all(shared(textsOf(options), own));
  const sized = parts.map(({ sources, share }) => ({ sources, of: scaled(options, share) }));
  const distil = sized.map(({ sources, of }) => distilWindows(sources.distil, of, tokenizer));
  const scores =
    scoreTexts === undefined
      ? sized.map(({ sources, of }) => scoreAndSelection(sources.score, of, tokenizer))
      : (await Promise.all(scoreTexts.map((path) => sourceOf(path, 'score', own)))).map((source) =>
          scoreAndSelection(source, scaled(options, 1 / scoreTexts.length), tokenizer),
        );
  const refit =
    refitTexts &&
    (await Promise.all(refitTexts.map((path) => sourceOf(path, 'distil', own)))).map(
      (source) => distilWindows(source, scaled(options, 1 / refitTexts.length), tokenizer).calibration,
    );
  const evaluation =
    evaluationTexts === undefined
      ? sized.map(({ sources: { evaluation: source }, of }) => ({ source, tokens: of.evaluationTokens }))
      : (await Promise.all(evaluationTexts.map((path) => sourceOf(path, 'evaluation', own)))).map(
          (source) => ({
            source,
            tokens: options.evaluationTokens,
          }),
        );
  const calibration = inTurns(distil.map((part) => part.calibration));
  return {
    calibration,
    refit: refit ? inTurns(refit) : calibration,
    validation: inTurns(distil.map(({ validation }) => validation)),
    score: inTurns(scores.map(({ score }) => score)),
    selection: inTurns(scores.map(({ selection }) => selection)),
    evaluation: evaluation.map(({ source: { name, text }, tokens }) => {
      const count = Math.max(1, Math.floor(tokens / window));
      return runText(name, cutWindows(tokenizer.encode(text, count * window), window, count, name));
    }),
  };
}

function scaled(options: TextOptions, share: number): TextOptions {
  const part = (tokens: number): number => Math.round(share * tokens);
  return {
    ...options,
    calibrationTokens: part(options.calibrationTokens),
    validationTokens: part(options.validationTokens),
    scoreTokens: part(options.scoreTokens),
    selectionTokens: part(options.selectionTokens),
    evaluationTokens: part(options.evaluationTokens),
  };
}

/** Windows of several texts as one text, each spread evenly over the whole. */
function inTurns(texts: readonly RunText[]): RunText {
  const [first, ...others] = texts as [RunText, ...RunText[]];
  if (others.length === 0) return first;
  const { window } = first;
  const order = texts
    .flatMap(({ count, ids }) =>
      Array.from({ length: count }, (_, i) => ({
        at: (i + 0.5) / count,
        ids: ids.subarray(i * window, (i + 1) * window),
      })),
    )
    .sort((a, b) => a.at - b.at);
  const ids = new Int32Array(order.length * window);
  order.forEach((part, i) => ids.set(part.ids, i * window));
  const name = texts.map((text) => `${text.name} (${text.count} windows)`).join(' + ');
  return runText(name, { window, count: order.length, ids });
}

function distilWindows(
  { name, text }: Source,
  { window, calibrationTokens, validationTokens }: TextOptions,
  tokenizer: Tokenizer,
): Pick<RunTexts, 'calibration' | 'validation'> {
  const wholeWindows = (tokens: number): number => Math.max(1, Math.floor(tokens / window));
  const wanted = wholeWindows(calibrationTokens) + wholeWindows(validationTokens);
  const all = cutWindows(tokenizer.encode(text, wanted * window), window, undefined, name);
  const validating = Math.min(wholeWindows(validationTokens), Math.max(1, Math.floor(all.count / 10)));
  if (all.count < 2) cutWindows(all.ids, window, 2, name); // explains how many tokens two windows take
  const boundary = all.count - validating;
  const whole = runText(name, all);
  return { calibration: windowsOf(whole, 0, boundary), validation: windowsOf(whole, boundary, all.count) };
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

/** The parts of one text: no part sees another. */
interface Sources {
  readonly distil: Source;
  readonly score: Source;
  readonly evaluation: Source;
}

function bundledSources(): Sources {
  const { train, validation, evaluation } = bundledText();
  return {
    distil: { name: 'bundled training text', text: train },
    score: { name: 'bundled validation text', text: validation },
    evaluation: { name: 'bundled evaluation text', text: evaluation },
  };
}

const textsOf = ({ texts = [{ path: bundledName, weight: 1 }] }: TextOptions): readonly WeightedText[] =>
  texts;

function shared(
  texts: readonly WeightedText[],
  own: OwnTexts,
): Promise<{ sources: Sources; share: number }>[] {
  const sum = texts.reduce((total, { weight }) => total + weight, 0);
  return texts.map(async ({ path, weight }) => ({
    sources: await sourcesOf(path, own),
    share: weight / sum,
  }));
}

/** Stand, wherever a path is asked for, for the text that comes with the package and for the teacher's own. */
const [bundledName, ownName] = ['bundled', 'own'];

/** How much of the teacher's own text the options ask for, by purpose; nothing where they don't. */
export function ownTokens(options: TextOptions): Readonly<Partial<Record<keyof Sources, number>>> {
  const { scoreTexts, refitTexts = [], evaluationTexts } = options;
  const texts = textsOf(options);
  const shareAmong = (paths: readonly string[]): number =>
    paths.length === 0 ? 0 : paths.filter((path) => path === ownName).length / paths.length;
  const weightOf = (some: readonly WeightedText[]): number =>
    some.reduce((sum, { weight }) => sum + weight, 0);
  const share = weightOf(texts.filter(({ path }) => path === ownName)) / weightOf(texts);
  const { calibrationTokens, validationTokens, scoreTokens, selectionTokens, evaluationTokens } = options;
  const wanted = {
    distil: Math.max(share, shareAmong(refitTexts)) * (calibrationTokens + validationTokens),
    score: (scoreTexts ? shareAmong(scoreTexts) : share) * (scoreTokens + selectionTokens),
    evaluation: (evaluationTexts ? Math.ceil(shareAmong(evaluationTexts)) : share) * evaluationTokens,
  };
  // Read again from its text, it may have a few tokens less.
  return Object.fromEntries(
    Object.entries(wanted).flatMap(([purpose, tokens]) =>
      tokens > 0 ? [[purpose, Math.ceil(1.02 * tokens)]] : [],
    ),
  );
}

/** A text given for one purpose: all of it, or the part that is for this purpose. */
const sourceOf = async (path: string, purpose: keyof Sources, own: OwnTexts): Promise<Source> => {
  if (path === bundledName) return bundledSources()[purpose];
  return path === ownName ? ownSources(own)[purpose] : readSource(path);
};

const ownSources = (own: OwnTexts): Sources => ({
  distil: { name: 'own text', text: own.distil ?? '' },
  score: { name: 'own text (held out)', text: own.score ?? '' },
  evaluation: { name: 'own text (held out)', text: own.evaluation ?? '' },
});

async function sourcesOf(path: string, own: OwnTexts): Promise<Sources> {
  if (path === bundledName) return bundledSources();
  if (path === ownName) return ownSources(own);
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

/** Reads every file that is named; they may be gigabytes, so what was read is not kept. */
async function requireFiles({
  scoreTexts = [],
  refitTexts = [],
  evaluationTexts = [],
  ...options
}: TextOptions) {
  const paths = [
    ...textsOf(options).map(({ path }) => path),
    ...scoreTexts,
    ...refitTexts,
    ...evaluationTexts,
  ];
  for (const path of new Set(paths)) if (path !== bundledName && path !== ownName) await readSource(path);
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
