/** Flags of every command that distils, and what they mean to the pipeline. */
import type { Options } from 'yargs';
import { defaultLibraryOptions, rankings, type LibraryOptions, type Ranking } from '../library/index.ts';
import {
  bundledTeacher,
  openStore,
  openTeacher,
  outline,
  prepare,
  type Outline,
  type Prepared,
  type Store,
  type WeightedText,
} from '../pipeline/index.ts';
import { PuzzleError } from '../util/errors.ts';
import type { ReportProgress } from '../util/progress.ts';
import type { Device } from '../runtime/index.ts';
import { deviceOptions, modelOption, storeOption, textOptions, wholeNumber } from './options.ts';

export const runOptions = {
  ...modelOption,
  space: {
    type: 'string',
    default: 'default',
    describe: 'Search space: a bundled one (default, fine, smollm2-135m, smollm2-135m-fine) or a YAML file',
  },
  ...textOptions,
  window: { type: 'number', default: 256, describe: 'Tokens per window of every text' },
  tokens: { type: 'number', default: 65_536, describe: 'Tokens to distil on' },
  'validation-tokens': {
    type: 'number',
    default: 8192,
    describe: 'Tokens that decide between starts and stop distillation',
  },
  'score-tokens': { type: 'number', default: 6144, describe: 'Tokens to score every block on' },
  'selection-tokens': {
    type: 'number',
    default: 6144,
    describe: 'Tokens that decide between assembled students',
  },
  'eval-tokens': { type: 'number', default: 8192, describe: 'Tokens of each evaluation text' },
  'distil-steps': {
    type: 'number',
    describe: `Optimiser steps per block (default: ${Object.entries(defaultLibraryOptions.distil)
      .map(([kind, { steps }]) => `${steps} for ${kind}`)
      .join(', ')}; none in fine spaces)`,
  },
  ranking: {
    choices: rankings,
    describe: 'Which channels and heads a smaller block keeps (default: elimination)',
  },
  ...deviceOptions,
  ...storeOption,
} as const satisfies Record<string, Options>;

/** What yargs makes of `runOptions`. */
export interface RunArguments {
  readonly model?: string | undefined;
  readonly space: string;
  readonly text?: readonly string[] | undefined;
  readonly textWeights?: readonly number[] | undefined;
  readonly scoreText?: readonly string[] | undefined;
  readonly refitText?: readonly string[] | undefined;
  readonly evalText?: readonly string[] | undefined;
  readonly window: number;
  readonly tokens: number;
  readonly validationTokens: number;
  readonly scoreTokens: number;
  readonly selectionTokens: number;
  readonly evalTokens: number;
  readonly distilSteps?: number | undefined;
  readonly ranking?: Ranking | undefined;
  readonly device: Device;
  readonly threads?: number | undefined;
  readonly store: string;
}

/**
 * Opens what a run needs, runs `body`, closes everything whatever happens.
 * @param check throws what speaks against the run, before anything is computed
 */
export async function withPreparedRun<T>(
  args: RunArguments,
  report: ReportProgress,
  body: (prepared: Prepared, store: Store) => Promise<T>,
  check: (outline: Outline) => Promise<unknown> = async () => {},
): Promise<T> {
  const threads =
    args.threads === undefined ? {} : { threads: wholeNumber(args.threads, 'threads', 1, 1024) };
  const store = await openStore(args.store);
  const teacher = await openTeacher(args.model ?? bundledTeacher, { device: args.device, ...threads });
  try {
    const { contextLength } = teacher.checkpoint.architecture.stream;
    const window = wholeNumber(args.window, 'window', 2, contextLength);
    const tokens = (value: number, flag: string): number =>
      atLeastOneWindow(wholeNumber(value, flag), window, flag);
    const options = {
      space: args.space,
      device: args.device,
      texts: {
        texts: weightedTexts(args.text, args.textWeights),
        scoreTexts: args.scoreText,
        refitTexts: args.refitText,
        evaluationTexts: args.evalText,
        window,
        calibrationTokens: tokens(args.tokens, 'tokens'),
        validationTokens: tokens(args.validationTokens, 'validation-tokens'),
        scoreTokens: tokens(args.scoreTokens, 'score-tokens'),
        selectionTokens: tokens(args.selectionTokens, 'selection-tokens'),
        evaluationTokens: tokens(args.evalTokens, 'eval-tokens'),
      },
      library: libraryOptions(args),
    };
    const outlined = await outline(teacher, options);
    await check(outlined);
    return await body(await prepare(outlined, store, report), store);
  } finally {
    await teacher.close();
  }
}

/** What flags ask of the library; the space says the rest. */
function libraryOptions({ distilSteps, ranking }: RunArguments): Partial<LibraryOptions> {
  const steps = distilSteps === undefined ? undefined : wholeNumber(distilSteps, 'distil-steps', 0);
  const { distil } = defaultLibraryOptions;
  return {
    ...(ranking !== undefined && { ranking }),
    ...(steps !== undefined && {
      distil: Object.fromEntries(Object.entries(distil).map(([kind, own]) => [kind, { ...own, steps }])),
    }),
  };
}

/** Texts with the shares that flags give them; all alike if none is given. */
function weightedTexts(
  paths: readonly string[] | undefined,
  weights: readonly number[] | undefined,
): readonly WeightedText[] | undefined {
  const isUsable =
    weights === undefined || (weights.length === paths?.length && weights.every((weight) => weight > 0));
  if (isUsable) return paths?.map((path, index) => ({ path, weight: weights?.[index] ?? 1 }));
  throw new PuzzleError('bad-usage', '--text-weights takes a number above 0 for each --text.', {
    at: '--text-weights',
    value: weights,
    fix: `Give ${paths?.length ?? 0} numbers, or leave --text-weights out.`,
  });
}

function atLeastOneWindow(tokens: number, window: number, flag: string): number {
  if (tokens >= window) return tokens;
  throw new PuzzleError('bad-usage', `--${flag} ${tokens} is less than one window of ${window} tokens.`, {
    at: `--${flag}`,
    value: tokens,
    fix: `Give --${flag} at least ${window}, or lower --window.`,
  });
}
