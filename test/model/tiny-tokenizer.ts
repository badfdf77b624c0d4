/** A byte-pair tokenizer trained on the spot, in the two forms that models carry one. */
import type { GgufMetadata, GgufValue } from '../../src/tensor/index.ts';

/** GPT-2's printable stand-ins for the 256 bytes. */
const byteCharacters = Array.from({ length: 256 }, (_, byte) => byte).map((byte) => {
  const printable = (byte >= 33 && byte <= 126) || (byte >= 161 && byte <= 172) || byte >= 174;
  return printable ? String.fromCharCode(byte) : undefined;
});
let next = 256;
const alphabet = byteCharacters.map((character) => character ?? String.fromCharCode(next++));

const sample = `The residual stream runs through the layers of the network, and each of the layers adds to it.
In 2024 there were 1234567 ways to say "it's", we'll see; they've seen: I'm done.\n\n\tÜber die Straße, naïve café.
the then there these those other another weather whether together gather rather father mother  and   sand hand`;

export interface TinyVocabulary {
  readonly tokens: readonly string[];
  /** Pairs in the order in which they are merged. */
  readonly merges: readonly (readonly [string, string])[];
}

/** Byte-pair encoding of words of `text`, whose symbols are `symbolsOf(word)`: the commonest pair is merged, again and again. */
export function trainBytePairs(
  words: readonly (readonly string[])[],
  merges: number,
): readonly (readonly [string, string])[] {
  let current = words.map((word) => [...word]);
  return Array.from({ length: merges }, () => {
    const counts = new Map<string, number>();
    for (const word of current) {
      for (let i = 1; i < word.length; i++) {
        const pair = `${word[i - 1]!} ${word[i]!}`;
        counts.set(pair, (counts.get(pair) ?? 0) + 1);
      }
    }
    const [best] = [...counts].reduce((a, b) => (b[1] > a[1] ? b : a));
    const [left, right] = best.split(' ') as [string, string];
    current = current.map((word) => mergedWord(word, left, right));
    return [left, right] as const;
  });
}

function mergedWord(word: readonly string[], left: string, right: string): string[] {
  const merged: string[] = [];
  for (const symbol of word) {
    if (symbol === right && merged.at(-1) === left) merged[merged.length - 1] = left + right;
    else merged.push(symbol);
  }
  return merged;
}

const toSymbols = (word: string): string[] =>
  Array.from(new TextEncoder().encode(word), (byte) => alphabet[byte]!);
const words = sample.match(/ ?\p{L}+| ?\p{N}+|\s+|[^\s\p{L}\p{N}]+/gu)!;

/** 256 bytes, 120 merges, and `<s>` as the last token. */
export const byteVocabulary: TinyVocabulary = (() => {
  const merges = trainBytePairs(words.map(toSymbols), 120);
  return { tokens: [...alphabet, ...merges.map((pair) => pair.join('')), '<s>'], merges };
})();

export const bosId = byteVocabulary.tokens.length - 1;

/** tokenizer.json, GPT-2's way unless `changes` say otherwise. */
export const tokenizerJson = (changes: object = {}): object => ({
  version: '1.0',
  added_tokens: [
    {
      id: bosId,
      content: '<s>',
      special: true,
      single_word: false,
      lstrip: false,
      rstrip: false,
      normalized: false,
    },
  ],
  normalizer: null,
  pre_tokenizer: { type: 'ByteLevel', add_prefix_space: false, trim_offsets: true, use_regex: true },
  post_processor: null,
  decoder: { type: 'ByteLevel', add_prefix_space: true, trim_offsets: true, use_regex: true },
  model: {
    type: 'BPE',
    vocab: Object.fromEntries(byteVocabulary.tokens.slice(0, -1).map((token, id) => [token, id])),
    merges: byteVocabulary.merges,
  },
  ...changes,
});

/** The same tokenizer in the metadata of a GGUF file. */
export const ggufTokenizerMetadata = (pre: string, addBos?: boolean): GgufMetadata =>
  new Map<string, GgufValue>([
    ['tokenizer.ggml.model', { type: 'string', value: 'gpt2' }],
    ['tokenizer.ggml.pre', { type: 'string', value: pre }],
    ['tokenizer.ggml.tokens', { type: 'array', items: 'string', value: byteVocabulary.tokens }],
    [
      'tokenizer.ggml.token_type',
      { type: 'array', items: 'int32', value: byteVocabulary.tokens.map((_, id) => (id === bosId ? 3 : 1)) },
    ],
    [
      'tokenizer.ggml.merges',
      { type: 'array', items: 'string', value: byteVocabulary.merges.map((pair) => pair.join(' ')) },
    ],
    ['tokenizer.ggml.bos_token_id', { type: 'uint32', value: bosId }],
    ['tokenizer.ggml.eos_token_id', { type: 'uint32', value: bosId }],
    ...(addBos === undefined
      ? []
      : ([['tokenizer.ggml.add_bos_token', { type: 'bool', value: addBos }]] as [string, GgufValue][])),
  ]);

/** A SentencePiece vocabulary: specials, 256 bytes, characters, merges; the earlier a merge, the better its score. */
export const sentencePieceMetadata: GgufMetadata = (() => {
  const spaced = `▁${sample.replaceAll(' ', '▁')}`;
  const symbols = (spaced.match(/▁*[^▁]+/gu) ?? []).map((word) => Array.from(word));
  const merges = trainBytePairs(symbols, 120);
  const characters = [...new Set(spaced)];
  const bytes = Array.from(
    { length: 256 },
    (_, byte) => `<0x${byte.toString(16).toUpperCase().padStart(2, '0')}>`,
  );
  const specials = ['<unk>', '<s>', '</s>'];
  const made = [...new Set(merges.map((pair) => pair.join('')))];
  const tokens = [...specials, ...bytes, ...made, ...characters];
  const types = [2, 3, 3, ...bytes.map(() => 6), ...made.map(() => 1), ...characters.map(() => 1)];
  const firstMade = specials.length + bytes.length;
  return new Map<string, GgufValue>([
    ['tokenizer.ggml.model', { type: 'string', value: 'llama' }],
    ['tokenizer.ggml.tokens', { type: 'array', items: 'string', value: tokens }],
    ['tokenizer.ggml.token_type', { type: 'array', items: 'int32', value: types }],
    [
      'tokenizer.ggml.scores',
      {
        type: 'array',
        items: 'float32',
        value: tokens.map((_, id) => (id < firstMade ? 0 : firstMade - id)),
      },
    ],
    ['tokenizer.ggml.bos_token_id', { type: 'uint32', value: 1 }],
    ['tokenizer.ggml.eos_token_id', { type: 'uint32', value: 2 }],
    ['tokenizer.ggml.unknown_token_id', { type: 'uint32', value: 0 }],
  ]);
})();
