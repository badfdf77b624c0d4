/** `puzzle evaluate`: how good models are on a text, how near to a teacher, how often right on test sets. */
import {
  evaluate,
  evaluateChoices,
  evaluatePairs,
  parseChoices,
  parsePairs,
  type ChoicesResult,
  type Evaluation,
  type PairsResult,
} from '../../evaluate/index.ts';
import { checkpointSource, closeExecution, openExecution, type Execution } from '../../execution/index.ts';
import { openModel, readTokens, type Checkpoint } from '../../model/index.ts';
import { bundledTeacher } from '../../pipeline/index.ts';
import { openRuntime, type Runtime } from '../../runtime/index.ts';
import { readText } from '../../tensor/index.ts';
import { PuzzleError } from '../../util/errors.ts';
import type { Interval } from '../../util/interval.ts';
import type { ReportProgress } from '../../util/progress.ts';
import { textTable } from '../../util/text-table.ts';
import { formatNumber } from '../../util/units.ts';
import { defineCommand } from '../command.ts';
import { deviceOptions, modelOption, repeatable, wholeNumber } from '../options.ts';

export const evaluateCommand = defineCommand({
  command: 'evaluate',
  describe:
    'Perplexity, KL and agreement with a teacher, accuracy on pairs and multiple choice; of one or more models',
  options: (yargs) =>
    repeatable(
      yargs.options({
        model: { ...modelOption.model, array: true },
        teacher: {
          type: 'string',
          describe: 'Model to compare the predictions with; of the same vocabulary',
        },
        text: { type: 'string', describe: 'Text file, read in windows from its start' },
        window: { type: 'number', default: 256, describe: 'Tokens per window' },
        stride: {
          type: 'number',
          describe:
            'Tokens from window to window; below --window they overlap and predict what is new (default: --window)',
        },
        tokens: { type: 'number', describe: 'Tokens to read (default: the whole text)' },
        pairs: { type: 'string', describe: 'JSON lines with sentence_good and sentence_bad (BLiMP)' },
        choices: {
          type: 'string',
          describe: 'JSON lines with context, endings and label, or as HellaSwag and ARC publish them',
        },
        ...deviceOptions,
      }),
      ['model'],
    )
      .example(
        '$0 evaluate --model student --teacher model.gguf --text book.txt',
        'how far a student is from its teacher',
      )
      .example(
        '$0 evaluate --model teacher --model student --choices hellaswag.jsonl --pairs blimp.jsonl',
        'a table of two models',
      ),
  async run(args, { print, report }) {
    if (args.text === undefined && args.pairs === undefined && args.choices === undefined) {
      throw new PuzzleError('bad-usage', 'Nothing to evaluate on.', {
        at: '--text',
        fix: 'Give --text FILE, --pairs FILE.jsonl, --choices FILE.jsonl, or several of them.',
      });
    }
    const job: Job = {
      teacher: args.teacher,
      text: args.text,
      window: args.window,
      stride: args.stride,
      tokens: args.tokens,
      pairs: args.pairs === undefined ? undefined : parsePairs(await readText(args.pairs), args.pairs),
      choices:
        args.choices === undefined ? undefined : parseChoices(await readText(args.choices), args.choices),
      report,
    };
    const models = args.model ?? [bundledTeacher];
    // A wrong path is told before the work on the ones before it.
    for (const path of [...models, ...(args.teacher === undefined ? [] : [args.teacher])])
      await (await openModel(path)).close();
    const runtime = await openRuntime({
      device: args.device,
      ...(args.threads !== undefined && { threads: wholeNumber(args.threads, 'threads', 1, 1024) }),
    });
    try {
      const results: Result[] = [];
      for (const path of models) results.push(await evaluateModel(path, job, runtime));
      const schema = 'puzzle/evaluation@1';
      print(models.length === 1 ? { schema, ...results[0]! } : { schema, models: results }, () =>
        render(results),
      );
    } finally {
      await runtime.close();
    }
  },
});

interface Job {
  readonly teacher: string | undefined;
  readonly text: string | undefined;
  readonly window: number;
  readonly stride: number | undefined;
  readonly tokens: number | undefined;
  readonly pairs: ReturnType<typeof parsePairs> | undefined;
  readonly choices: ReturnType<typeof parseChoices> | undefined;
  readonly report: ReportProgress;
}

interface Result extends Partial<Evaluation> {
  readonly model: string;
  readonly teacher?: string;
  readonly window?: number;
  readonly stride?: number;
  readonly pairs?: PairsResult;
  readonly choices?: ChoicesResult;
}

async function evaluateModel(path: string, job: Job, runtime: Runtime): Promise<Result> {
  const { teacher, pairs, choices, report } = job;
  return withModel(path, runtime, async (model, checkpoint) => {
    const tokenizer = await checkpoint.tokenizer();
    return {
      model: path,
      ...(teacher !== undefined && { teacher }),
      ...(job.text !== undefined && (await evaluateText(job.text, job, model, checkpoint))),
      ...(pairs && {
        pairs: await evaluatePairs(model, pairs, (text) => tokenizer.encode(text), { report }),
      }),
      ...(choices && {
        choices: await evaluateChoices(model, choices, (text) => tokenizer.encode(text), { report }),
      }),
    };
  });
}

async function evaluateText(
  path: string,
  { teacher, tokens, report, ...job }: Job,
  model: Execution,
  checkpoint: Checkpoint,
): Promise<Partial<Result>> {
  const tokenizer = await checkpoint.tokenizer();
  const window = wholeNumber(job.window, 'window', 2, checkpoint.architecture.stream.contextLength);
  const stride = job.stride === undefined ? window : wholeNumber(job.stride, 'stride', 1, window);
  const limit = tokens === undefined ? undefined : wholeNumber(tokens, 'tokens', window);
  const ids = await readTokens([path], tokenizer, limit);
  const options = {
    window,
    stride,
    report,
    decode: (part: Iterable<number>) => tokenizer.decode(part),
  };
  const evaluation =
    teacher === undefined
      ? await evaluate(model, ids, options)
      : await withModel(teacher, model.runtime, async (own, ownCheckpoint) => {
          const theirs = await readTokens([path], await ownCheckpoint.tokenizer(), limit);
          requireSameTokens(checkpoint, ownCheckpoint, ids, theirs);
          return evaluate(model, ids, { ...options, teacher: own, ranks: true });
        });
  return { window, stride, ...evaluation };
}

async function withModel<T>(
  path: string,
  runtime: Runtime,
  use: (model: Execution, checkpoint: Checkpoint) => Promise<T>,
): Promise<T> {
  const checkpoint = await openModel(path);
  try {
    const model = await openExecution(checkpointSource(checkpoint), runtime);
    try {
      return await use(model, checkpoint);
    } finally {
      await closeExecution(model);
    }
  } finally {
    await checkpoint.close();
  }
}

/** Predictions can be compared only over the same tokens; the models' widths may differ. */
function requireSameTokens(
  model: Checkpoint,
  teacher: Checkpoint,
  ids: Int32Array,
  theirs: Int32Array,
): void {
  const [own, other] = [model, teacher].map(({ architecture }) => architecture.stream.vocabularySize);
  const fault =
    own !== other
      ? `The teacher has a vocabulary of ${other}, the model one of ${own}.`
      : ids.length !== theirs.length || ids.some((id, i) => id !== theirs[i])
        ? 'The teacher and the model cut the text into different tokens.'
        : undefined;
  if (fault === undefined) return;
  throw new PuzzleError('tokenizer-mismatch', fault, {
    at: '--teacher',
    value: teacher.path,
    fix: 'Compare a student with the teacher it was made from.',
  });
}

interface Measure {
  readonly name: (result: Result) => string;
  readonly interval: (result: Result) => Interval | undefined;
  readonly unit?: '%';
}

const measures: readonly Measure[] = [
  { name: () => 'perplexity per token', interval: ({ perplexity }) => perplexity },
  { name: () => 'perplexity per byte', interval: ({ perplexityPerByte }) => perplexityPerByte },
  { name: () => 'KL from the teacher', interval: ({ kl }) => kl },
  { name: () => 'top-1 agreement', interval: ({ top1Agreement }) => top1Agreement, unit: '%' },
  { name: () => 'top-5 agreement', interval: ({ top5Agreement }) => top5Agreement, unit: '%' },
  { name: () => 'top-10 agreement', interval: ({ top10Agreement }) => top10Agreement, unit: '%' },
  {
    name: ({ pairs }) => `right of ${pairs?.count} pairs`,
    interval: ({ pairs }) => pairs?.accuracy,
    unit: '%',
  },
  {
    name: ({ choices }) => `right of ${choices?.count} choices`,
    interval: ({ choices }) => choices?.accuracy,
    unit: '%',
  },
  { name: () => 'the same, per byte', interval: ({ choices }) => choices?.normalisedAccuracy, unit: '%' },
];

/** One column of values and intervals a model. */
function render(results: readonly Result[]): string {
  const [first] = results;
  const { tokens, window, stride } = first!;
  const span = tokens === undefined ? '' : `${tokens} tokens, window ${window}, stride ${stride}`;
  const headers = results.flatMap(({ model }) => [results.length === 1 ? 'value' : model, '95 % interval']);
  const rows = measures
    .filter(({ interval }) => results.some((result) => interval(result) !== undefined))
    .map(({ name, interval, unit }) => [
      name(first!),
      ...results.flatMap((result) => cells(interval(result), unit)),
    ]);
  return textTable([[span, ...headers], ...rows]);
}

function cells(interval: Interval | undefined, unit: Measure['unit']): string[] {
  if (interval === undefined) return ['-', ''];
  const shown = (value: number): string => formatNumber(unit === '%' ? 100 * value : value);
  return [
    `${shown(interval.value)}${unit === undefined ? '' : ` ${unit}`}`,
    `${shown(interval.low)} to ${shown(interval.high)}`,
  ];
}
