/** `puzzle evaluate`: how good a model is on a text, how near to a teacher, how often right on minimal pairs. */
import {
  evaluate,
  evaluatePairs,
  parsePairs,
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
import { textTable } from '../../util/text-table.ts';
import { formatNumber } from '../../util/units.ts';
import { defineCommand } from '../command.ts';
import { deviceOptions, modelOption, wholeNumber } from '../options.ts';

export const evaluateCommand = defineCommand({
  command: 'evaluate',
  describe: 'Perplexity, KL and top-1 agreement against a teacher, accuracy on minimal pairs',
  options: (yargs) =>
    yargs
      .options({
        ...modelOption,
        teacher: {
          type: 'string',
          describe: 'Model to compare the predictions with; of the same vocabulary',
        },
        text: {
          type: 'string',
          describe: 'Text file; its windows are cut from the start and do not overlap',
        },
        window: { type: 'number', default: 256, describe: 'Tokens per window' },
        tokens: { type: 'number', describe: 'Tokens to read (default: the whole text)' },
        pairs: { type: 'string', describe: 'JSON lines with sentence_good and sentence_bad (BLiMP)' },
        ...deviceOptions,
      })
      .example(
        '$0 evaluate --model student --teacher model.gguf --text book.txt',
        'how far a student is from its teacher',
      ),
  async run(args, { print, report }) {
    if (args.text === undefined && args.pairs === undefined) {
      throw new PuzzleError('bad-usage', 'Nothing to evaluate on.', {
        at: '--text',
        fix: 'Give --text FILE, --pairs FILE.jsonl, or both.',
      });
    }
    const runtime = await openRuntime({
      device: args.device,
      ...(args.threads !== undefined && { threads: wholeNumber(args.threads, 'threads', 1, 1024) }),
    });
    try {
      const document = await withModel(args.model ?? bundledTeacher, runtime, async (model, checkpoint) => {
        const tokenizer = await checkpoint.tokenizer();
        const window = wholeNumber(args.window, 'window', 2, checkpoint.architecture.stream.contextLength);
        const limit = args.tokens === undefined ? undefined : wholeNumber(args.tokens, 'tokens', window);
        const text =
          args.text === undefined
            ? undefined
            : { ids: await readTokens([args.text], tokenizer, limit), window, report };
        const pairs =
          args.pairs === undefined ? undefined : parsePairs(await readText(args.pairs), args.pairs);
        const evaluation =
          text &&
          (args.teacher === undefined
            ? await evaluate(model, text.ids, text)
            : await withModel(args.teacher, runtime, (teacher, own) => {
                requireSameVocabulary(checkpoint, own);
                return evaluate(model, text.ids, { ...text, teacher });
              }));
        const accuracy =
          pairs && (await evaluatePairs(model, pairs, (sentence) => tokenizer.encode(sentence), { report }));
        return { ...evaluation, ...(accuracy && { pairs: accuracy }) };
      });
      print({ schema: 'puzzle/evaluation@1', ...document }, () => render(document));
    } finally {
      await runtime.close();
    }
  },
});

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

/** Predictions can be compared only over the same tokens; a student of another width would still do. */
function requireSameVocabulary(model: Checkpoint, teacher: Checkpoint): void {
  const [own, other] = [model, teacher].map(({ architecture }) => architecture.stream);
  for (const field of ['vocabularySize', 'hidden'] as const) {
    if (own![field] === other![field]) continue;
    throw new PuzzleError(
      'tokenizer-mismatch',
      `The teacher has ${field} ${other![field]}, the model ${own![field]}.`,
      {
        at: '--teacher',
        value: teacher.path,
        fix: 'Compare a student with the teacher it was made from.',
      },
    );
  }
}

function render({
  tokens,
  perplexity,
  kl,
  top1Agreement,
  pairs,
}: Partial<Evaluation> & { pairs?: PairsResult }): string {
  const row = (name: string, interval: Interval | undefined, scale = 1, unit = ''): string[][] =>
    interval === undefined
      ? []
      : [
          [
            name,
            `${formatNumber(scale * interval.value)}${unit}`,
            `${formatNumber(scale * interval.low)} to ${formatNumber(scale * interval.high)}`,
          ],
        ];
  return textTable([
    [tokens === undefined ? '' : `${tokens} tokens`, 'value', '95 % interval'],
    ...row('perplexity', perplexity),
    ...row('KL from the teacher', kl),
    ...row('top-1 agreement', top1Agreement, 100, ' %'),
    ...row(`right of ${pairs?.count} pairs`, pairs?.accuracy, 100, ' %'),
  ]);
}
