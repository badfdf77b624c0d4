/**
 * The model's own text: what it says when nobody asks. To fit and judge blocks on text like what the model was trained
 * on takes that text, or the model itself (LLM-QAT, arXiv 2305.17888, sec. 3.1): as in that paper, a sequence starts
 * with any token and goes on with draws from the model's predictions.
 */
import { seededRandom, type Random } from '../util/random.ts';
import type { Decoder } from './decoder.ts';
import { likeliest } from './sampling.ts';
import { openSequences } from './sequence.ts';

export interface OwnTextOptions {
  /** Sequences that grow together: weights are read once a token for all of them. */
  readonly count: number;
  /** Tokens of each, within the model's context. */
  readonly tokens: number;
  /** Sequences start with any token below it. */
  readonly vocabularySize: number;
  readonly seed: number;
  /** Called after every token with how many each sequence has. */
  readonly onToken?: (tokens: number) => void;
}

/**
 * Tokens this much less likely than the likeliest are never drawn (min-p, arXiv 2407.01082): a draw from the far tail
 * sends the rest of a small model's sequence astray.
 */
const leastShare = 0.02;

/** `count` sequences of `tokens` ids. Equal options give equal texts. */
export async function ownText(
  decoder: Decoder,
  { count, tokens, vocabularySize, seed, onToken }: OwnTextOptions,
): Promise<readonly Int32Array[]> {
  const random = seededRandom(seed);
  const texts = Array.from({ length: count }, () =>
    new Int32Array(tokens).fill(random.integer(vocabularySize), 0, 1),
  );
  const sequences = await openSequences(decoder, tokens, count);
  try {
    for (let end = 1; end < tokens; end++) {
      const logits = await sequences.append(texts.map((text) => text[end - 1]!));
      const size = logits.length / count;
      texts.forEach((text, index) => {
        text[end] = drawn(logits.subarray(index * size, (index + 1) * size), random);
      });
      onToken?.(end + 1);
    }
    return texts;
  } finally {
    await sequences.close();
  }
}

/** A draw from softmax(logits) without its tail. */
function drawn(logits: Float32Array, random: Random): number {
  const best = likeliest(logits);
  const most = logits[best]!;
  const least = most + Math.log(leastShare);
  let sum = 0;
  for (const logit of logits) if (logit >= least) sum += Math.exp(logit - most);
  let left = random.uniform() * sum;
  const found = logits.findIndex((logit) => logit >= least && (left -= Math.exp(logit - most)) < 0);
  return found < 0 ? best : found; // rounding left nothing
}
