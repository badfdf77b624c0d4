/** `puzzle generate`: continues a prompt with a student, a teacher, or an exported ONNX folder. */
import { checkpointSource } from '../../execution/index.ts';
import {
  endTokensOf,
  generate,
  isOnnxFolder,
  openDecoder,
  openOnnxFolder,
  textStream,
  weightFormats,
  type Decoder,
  type Phase,
  type WeightFormat,
} from '../../generate/index.ts';
import { openModel, type Tokenizer } from '../../model/index.ts';
import { openRuntime, type Runtime } from '../../runtime/index.ts';
import { errorCodes, PuzzleError } from '../../util/errors.ts';
import { formatNumber } from '../../util/units.ts';
import { defineCommand } from '../command.ts';
import { deviceOptions, wholeNumber } from '../options.ts';

export const generateCommand = defineCommand({
  command: 'generate <model>',
  describe: 'Continue a prompt, streaming; tokens a second on stderr',
  options: (yargs) =>
    yargs
      .positional('model', {
        type: 'string',
        demandOption: true,
        describe: 'Hugging Face folder, .gguf file, results folder, or exported ONNX folder',
      })
      .options({
        prompt: { type: 'string', demandOption: true, describe: 'Beginning of the text' },
        'max-tokens': { type: 'number', default: 128, describe: 'Tokens to generate at most' },
        temperature: { type: 'number', default: 0, describe: '0 always takes the likeliest token' },
        'top-p': { type: 'number', default: 1, describe: 'Sample among the likeliest tokens of this share' },
        seed: { type: 'number', default: 0, describe: 'Of the sampling' },
        weights: {
          choices: weightFormats,
          describe:
            'Hold matrices as float32, or in 8 or 4 bits: faster, and exact where the model is Q8_0 or Q4_0 (default: f32)',
        },
        threads: deviceOptions.threads,
      })
      .example('$0 generate results/my-run --prompt "Call me"', 'what a student says')
      .example('$0 generate onnx-folder --prompt "Call me" --temperature 0.8 --top-p 0.95', 'sampled'),
  async run(args, { print, stream, report, signal, endsWhenAborted }) {
    const sampling = {
      maxTokens: wholeNumber(args.maxTokens, 'max-tokens'),
      temperature: within(args.temperature, 'temperature', 0, 100),
      topP: within(args.topP, 'top-p', Number.MIN_VALUE, 1),
      seed: wholeNumber(args.seed, 'seed', 0, 2 ** 32 - 1),
    };
    if (args.prompt === '') {
      const fix = 'Give the beginning of a text.';
      throw new PuzzleError('text-invalid', 'The prompt is empty.', { at: '--prompt', value: '', fix });
    }
    const runtime = await openRuntime({
      device: 'cpu',
      ...(args.threads !== undefined && { threads: wholeNumber(args.threads, 'threads', 1, 1024) }),
    });
    try {
      const { decoder, tokenizer, endTokens } = await open(args.model, runtime, args.weights);
      const prompt = tokenizer.encode(args.prompt);
      const text = textStream((ids) => tokenizer.decode(ids), Array.from(prompt));
      const pieces: string[] = [];
      const show = (piece: string): void => {
        pieces.push(piece);
        stream(piece);
      };
      endsWhenAborted();
      const options = { ...sampling, endTokens, signal, onToken: (token: number) => show(text.push(token)) };
      const { tokens, stop, prefill, decode } = await generate(decoder, prompt, options);
      show(text.end());
      const document = { model: args.model, prompt: args.prompt, text: pieces.join('') };
      print({ schema: 'puzzle/generation@1', ...document, tokens, stop, prefill, decode }, () => '');
      report({
        kind: 'note',
        message: `${rate('prefill', prefill)}; ${rate('decode', decode)}; ended by ${stop}`,
      });
      if (stop === 'interrupted') process.exitCode = errorCodes.interrupted;
    } finally {
      await runtime.close();
    }
  },
});

interface Opened {
  readonly decoder: Decoder;
  readonly tokenizer: Tokenizer;
  readonly endTokens: readonly number[];
}

/** Opens whatever holds a model; its weights go with the runtime. */
async function open(path: string, runtime: Runtime, weights?: WeightFormat): Promise<Opened> {
  if (await isOnnxFolder(path)) {
    if (weights === undefined) return openOnnxFolder(path, runtime);
    throw new PuzzleError('bad-usage', 'An exported folder holds its weights as they are.', {
      at: '--weights',
      value: weights,
      fix: 'Leave --weights out, or name the model that was exported.',
    });
  }
  const checkpoint = await openModel(path);
  try {
    const tokenizer = await checkpoint.tokenizer();
    const decoder = await openDecoder(checkpointSource(checkpoint), runtime, { ...(weights && { weights }) });
    return { decoder, tokenizer, endTokens: endTokensOf(tokenizer) };
  } finally {
    await checkpoint.close();
  }
}

function within(value: number, flag: string, least: number, most: number): number {
  if (value >= least && value <= most) return value;
  throw new PuzzleError(
    'bad-usage',
    `--${flag} takes a number from ${least === 0 ? 0 : 'above 0'} to ${most}.`,
    {
      at: `--${flag}`,
      value,
      fix: `Give --${flag} a number in that range.`,
    },
  );
}

const rate = (name: string, { tokens, milliseconds, tokensPerSecond }: Phase): string =>
  `${name} ${tokens} tokens in ${formatNumber(milliseconds / 1000)} s` +
  (tokensPerSecond === undefined ? '' : ` (${formatNumber(tokensPerSecond)} tokens/s)`);
