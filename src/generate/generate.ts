/** Continues a prompt, token by token. */
import { PuzzleError } from '../util/errors.ts';
import type { Decoder } from './decoder.ts';
import { sampler, type SamplingOptions } from './sampling.ts';
import { openSequences } from './sequence.ts';

export interface GenerateOptions extends SamplingOptions {
  /** Tokens to generate at most; fewer where the context ends or an end token comes. */
  readonly maxTokens: number;
  readonly endTokens: readonly number[];
  /** Called with every token but an end token, as soon as it is chosen. */
  readonly onToken: (token: number) => void;
  /** Stops between two tokens. */
  readonly signal?: AbortSignal;
}

export interface Generated {
  /** Without an end token. */
  readonly tokens: readonly number[];
  readonly stop: 'end-token' | 'max-tokens' | 'context-full' | 'interrupted';
  /** From the prompt to the first token's logits. */
  readonly prefill: Phase;
  /** One token after another. */
  readonly decode: Phase;
}

export interface Phase {
  readonly tokens: number;
  readonly milliseconds: number;
  /** Absent where nothing ran. */
  readonly tokensPerSecond?: number;
}

/** @throws PuzzleError `text-invalid` for an empty prompt, or one that leaves no room in the context */
export async function generate(
  decoder: Decoder,
  prompt: ArrayLike<number>,
  options: GenerateOptions,
): Promise<Generated> {
  const { contextLength } = decoder;
  requirePrompt(prompt.length, contextLength);
  const room = contextLength - prompt.length;
  const most = Math.min(options.maxTokens, room);
  const choose = sampler(options);
  const isEnd = new Set(options.endTokens);
  const tokens: number[] = [];
  let stop: Generated['stop'] = options.maxTokens <= room ? 'max-tokens' : 'context-full';
  const sequence = await openSequences(decoder, prompt.length + most);
  try {
    const start = performance.now();
    let logits = await sequence.append(Array.from(prompt));
    const filled = performance.now();
    let steps = 0;
    for (;;) {
      if (options.signal?.aborted === true) {
        stop = 'interrupted';
        break;
      }
      const token = choose(logits);
      if (isEnd.has(token)) {
        stop = 'end-token';
        break;
      }
      tokens.push(token);
      options.onToken(token);
      if (tokens.length === most) break;
      logits = await sequence.append([token]);
      steps++;
    }
    return {
      tokens,
      stop,
      prefill: phase(prompt.length, filled - start),
      decode: phase(steps, performance.now() - filled),
    };
  } finally {
    await sequence.close();
  }
}

const phase = (tokens: number, milliseconds: number): Phase => ({
  tokens,
  milliseconds,
  ...(tokens > 0 && milliseconds > 0 && { tokensPerSecond: (1000 * tokens) / milliseconds }),
});

function requirePrompt(length: number, contextLength: number): void {
  if (length === 0) {
    throw new PuzzleError('text-invalid', 'The prompt is empty.', {
      at: '--prompt',
      value: '',
      fix: 'Give the beginning of a text.',
    });
  }
  if (length < contextLength) return;
  throw new PuzzleError(
    'text-invalid',
    `The prompt has ${length} tokens; the model's context has ${contextLength}, one of them for the answer.`,
    { at: '--prompt', value: length, fix: 'Give a shorter prompt.', details: { contextLength } },
  );
}
