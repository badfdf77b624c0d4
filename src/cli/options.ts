/** Option groups that several commands share, so that a flag means the same everywhere. */
import type { Argv, Options } from 'yargs';
import { PuzzleError } from '../util/errors.ts';

export const modelOption = {
  model: {
    type: 'string',
    describe: 'Hugging Face folder, .gguf file, or a results folder (default: the bundled teacher)',
  },
} as const satisfies Record<string, Options>;

export const hardwareOption = {
  hw: {
    type: 'string',
    default: 'h100',
    describe: 'Hardware profile: a name (`puzzle hw list`) or a JSON file',
  },
} as const satisfies Record<string, Options>;

const formats = ['fp8', 'bf16', 'fp16', 'int8', 'fp32'] as const;

/** Without defaults: a measured profile brings its own workload, and only what is given overrides it. */
export const workloadOptions = {
  batch: { type: 'number', describe: 'Requests served together (default: 64)' },
  input: { type: 'number', describe: 'Prompt tokens a request (default: 1024)' },
  output: { type: 'number', describe: 'Generated tokens a request (default: 1024)' },
  weights: { choices: [...formats, 'int4', 'nvfp4'], describe: 'Format of the weights (default: bf16)' },
  kv: { choices: formats, describe: 'Format of the KV cache (default: bf16)' },
  tp: { type: 'number', describe: 'Tensor-parallel degree (default: 1)' },
} as const satisfies Record<string, Options>;

/** How a server runs a workload, for commands that need no more than its costs. */
export const servingOptions = {
  embeddings: {
    choices: [...formats, 'int4', 'nvfp4'],
    describe: 'Format of embedding and head (default: as --weights)',
  },
  'fp8-scales': {
    choices: ['dynamic', 'static'],
    describe: 'Whether fp8 products find their scale in each call or have it beforehand (default: dynamic)',
  },
  'chunked-prefill': { type: 'boolean', describe: 'Prompts may be split over prefill passes' },
  'prefill-tokens': { type: 'number', describe: 'Most tokens in one prefill pass (default: 8192)' },
  'kv-page': { type: 'number', describe: 'Tokens per page of the KV cache (default: 1, exact)' },
  reserve: {
    type: 'string',
    describe: "Memory per device that the runtime keeps: 2GiB (default: the profile's)",
  },
} as const satisfies Record<string, Options>;

export const budgetOptions = {
  memory: { type: 'string', describe: 'Most memory: 80GiB, or 85% of the teacher' },
  latency: { type: 'string', describe: 'Longest time of one batch, prompt to last token: 51.2s, 1.5x, 85%' },
  throughput: { type: 'string', describe: 'Least generated tokens a second: 5000tok/s, 2x' },
  params: { type: 'string', describe: 'Most parameters, embeddings counted: 6B, 80%' },
} as const satisfies Record<string, Options>;

export const textOptions = {
  text: {
    type: 'string',
    array: true,
    describe:
      'Texts to distil on: files, bundled (the public-domain text that comes along; the default), own (sampled from the model itself)',
  },
  'text-weights': {
    type: 'number',
    array: true,
    describe: 'Share of the tokens that each --text gives (default: all alike)',
  },
  'score-text': {
    type: 'string',
    array: true,
    describe:
      'Held-out texts to score blocks and choose students on; several domains make a student that holds in others (default: the last tenth of --text)',
  },
  'refit-text': {
    type: 'string',
    array: true,
    describe: 'Texts to refit the student on (default: what blocks were fitted on)',
  },
  'eval-text': {
    type: 'string',
    array: true,
    describe: 'Texts to evaluate the student on (default: a held-out part of the text)',
  },
} as const satisfies Record<string, Options>;

export const storeOption = {
  store: { type: 'string', default: '.puzzle/store', describe: 'Folder of finished jobs' },
} as const satisfies Record<string, Options>;

export const deviceOptions = {
  device: {
    type: 'string',
    default: 'cpu',
    choices: ['cpu', 'webgpu', 'cuda'],
    describe: 'Where this machine computes',
  },
  threads: { type: 'number', describe: 'CPU threads (default: all cores)' },
} as const satisfies Record<string, Options>;

/** Lets the named options be given several times; of all others the last counts, as in every command. */
export const repeatable = <T>(yargs: Argv<T>, names: readonly (keyof T & string)[]): Argv<T> =>
  yargs.parserConfiguration({ 'duplicate-arguments-array': true }).middleware((args) => {
    const values: Record<string, unknown> = args;
    for (const [name, value] of Object.entries(values)) {
      if (Array.isArray(value) && name !== '_' && !names.includes(name as keyof T & string))
        values[name] = value.at(-1);
    }
  }, true);

/** A whole number within limits; yargs passes NaN for text. Throws `bad-usage` naming the flag. */
export function wholeNumber(value: number, flag: string, least = 1, most = Number.MAX_SAFE_INTEGER): number {
  if (Number.isInteger(value) && value >= least && value <= most) return value;
  throw new PuzzleError(
    'bad-usage',
    `--${flag} takes a whole number from ${least}${most === Number.MAX_SAFE_INTEGER ? '' : ` to ${most}`}.`,
    {
      at: `--${flag}`,
      value,
      fix: `Give --${flag} a whole number.`,
    },
  );
}
