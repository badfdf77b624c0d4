import { Tokenizer as LibraryTokenizer } from '@huggingface/tokenizers';
import * as fc from 'fast-check';
import { existsSync, readFileSync } from 'node:fs';
import { expect, test } from 'vitest';
import { ggufTokenizer } from '../../src/model/gguf-tokenizer.ts';
import { createTokenizer, openModel, type Tokenizer } from '../../src/model/index.ts';
import { preTokenizers } from '../../src/model/pre-tokenizers.ts';
import { prepared, tokenizerJsonSchema } from '../../src/model/tokenizer-json.ts';
import type { GgufMetadata, GgufValue } from '../../src/tensor/index.ts';
import { bosId, ggufTokenizerMetadata, sentencePieceMetadata, tokenizerJson } from './tiny-tokenizer.ts';

const create = (changes?: object): Tokenizer =>
  createTokenizer(tokenizerJson(changes), 'tokenizer.json', () => ({
    'tokenizer.json': '',
    'tokenizer_config.json': '',
  }));

/** Texts with everything that patterns treat apart. */
const texts = fc
  .array(
    fc.oneof(
      fc.constantFrom(
        'the',
        ' there',
        "'s",
        "it's",
        'The ',
        '\n',
        '\n\n',
        '  ',
        '\t',
        ' 123456',
        '½',
        '٣',
        '\u0085',
        '\ufeff',
      ),
      fc.constantFrom('Straße ', '中文字 ', '🙂', ' a b c', '...', ' <s>', '<s>', '▁', '\r\n', 'e\u0301 x'),
      fc.string({ maxLength: 5, unit: 'grapheme' }),
    ),
    { maxLength: 30 },
  )
  .map((parts) => parts.join(''));

const tokenizers: [string, Tokenizer][] = [
  ['tokenizer.json', create()],
  ...Object.keys(preTokenizers).map((pre): [string, Tokenizer] => [
    pre,
    ggufTokenizer(ggufTokenizerMetadata(pre, false), pre),
  ]),
];

test.each(tokenizers)('%s: decoding gives the text back', (_, tokenizer) => {
  fc.assert(
    fc.property(texts, (text) => {
      expect(tokenizer.decode(tokenizer.encode(text))).toBe(text);
    }),
    { numRuns: 30 },
  );
});

test.each(tokenizers)(
  '%s: a text cut at a space between letters has the tokens of its parts',
  (_, tokenizer) => {
    fc.assert(
      fc.property(texts, (text) => {
        const whole = tokenizer.encode(text);
        for (const { index } of text.matchAll(/(?<=\p{L}) (?=\p{L})/gu)) {
          const parts = [...tokenizer.encode(text.slice(0, index)), ...tokenizer.encode(text.slice(index))];
          expect(parts).toEqual([...whole]);
        }
      }),
      { numRuns: 60 },
    );
  },
);

test('a long text has the tokens that the library gives it in one piece', () => {
  const parts = fc.sample(texts, { numRuns: 8000, seed: 7 });
  const text = parts.join(' the others ');
  expect(text.length).toBeGreaterThan(3 * 2 ** 16);
  const library = new LibraryTokenizer(prepared(tokenizerJsonSchema.parse(tokenizerJson())), {});
  const expected = library.encode(text, { add_special_tokens: false }).ids;
  const tokenizer = create();
  expect(tokenizer.encode(text)).toEqual(Int32Array.from(expected));
  expect(tokenizer.encode(text, 1000)).toEqual(Int32Array.from(expected.slice(0, 1000)));
});

test('digits and spaces are Unicode, whatever JavaScript thinks of them', () => {
  const digits = create({
    pre_tokenizer: {
      type: 'Sequence',
      pretokenizers: [
        { type: 'Digits', individual_digits: true },
        { type: 'ByteLevel', add_prefix_space: false, use_regex: true },
      ],
    },
  });
  const smollm = ggufTokenizer(ggufTokenizerMetadata('smollm', false), 'a.gguf');
  fc.assert(
    fc.property(texts, (text) => {
      expect(digits.encode(text)).toEqual(smollm.encode(text));
    }),
    { numRuns: 100 },
  );
});

const startingWithBos = {
  type: 'TemplateProcessing',
  single: [{ SpecialToken: { id: '<s>', type_id: 0 } }, { Sequence: { id: 'A', type_id: 0 } }],
  pair: [{ Sequence: { id: 'A', type_id: 0 } }, { Sequence: { id: 'B', type_id: 1 } }],
  special_tokens: { '<s>': { id: '<s>', ids: [bosId], tokens: ['<s>'] } },
};

test('BOS comes first exactly where the model adds it', () => {
  const bare = create().encode('the others');
  const withBos = create({ post_processor: startingWithBos }).encode('the others');
  expect([...withBos]).toEqual([bosId, ...bare]);
  expect(ggufTokenizer(ggufTokenizerMetadata('gpt-2'), 'a.gguf').encode('the others')).toEqual(bare);
  expect([...ggufTokenizer(ggufTokenizerMetadata('gpt-2', true), 'a.gguf').encode('the others')]).toEqual([
    bosId,
    ...bare,
  ]);
  expect(ggufTokenizer(ggufTokenizerMetadata('llama-bpe'), 'a.gguf').encode('the')[0]).toBe(bosId);
});

test('special tokens in a text are recognised; an empty text has none', () => {
  expect([...create().encode('a<s>b')]).toEqual([...create().encode('a'), bosId, ...create().encode('b')]);
  expect([...create().encode('')]).toEqual([]);
  expect(create().decode([])).toBe('');
});

test('a character without a token is refused', () => {
  const letters = { type: 'BPE', vocab: { a: 0, b: 1 }, merges: [] };
  const poor = create({ pre_tokenizer: null, decoder: null, added_tokens: [], model: letters });
  expect([...poor.encode('ab')]).toEqual([0, 1]);
  expect(() => poor.encode('abc')).toThrow(expect.objectContaining({ code: 'text-invalid' }));
});

test('files written from a GGUF tokenizer give the same tokenizer', () => {
  for (const metadata of [ggufTokenizerMetadata('qwen2', true), sentencePieceMetadata]) {
    const tokenizer = ggufTokenizer(metadata, 'a.gguf');
    const files = tokenizer.files();
    const again = createTokenizer(JSON.parse(files['tokenizer.json']), 'tokenizer.json', () => files);
    fc.assert(
      fc.property(texts, (text) => {
        expect(again.encode(text)).toEqual(tokenizer.encode(text));
      }),
      { numRuns: 50 },
    );
    expect(again.vocabularySize).toBe(tokenizer.vocabularySize);
  }
});

test('SentencePiece: spaces become words, unknown characters bytes, and back', () => {
  const tokenizer = ggufTokenizer(sentencePieceMetadata, 'a.gguf');
  const tokens = sentencePieceMetadata.get('tokenizer.ggml.tokens')!.value as readonly string[];
  expect(Array.from(tokenizer.encode('the 漢'), (id) => tokens[id])).toEqual([
    '<s>',
    '▁the',
    '▁',
    '<0xE6>',
    '<0xBC>',
    '<0xA2>',
  ]);
  expect(tokenizer.decode(tokenizer.encode('the  others\n漢').subarray(1))).toBe('the  others\n漢');
});

test.each<[string, (metadata: Map<string, GgufValue>) => void, string, string]>([
  [
    'an unknown scheme',
    (m) => m.set('tokenizer.ggml.model', { type: 'string', value: 'rwkv' }),
    'unsupported-tokenizer',
    'tokenizer.ggml.model',
  ],
  [
    'unknown patterns',
    (m) => m.set('tokenizer.ggml.pre', { type: 'string', value: 'viking' }),
    'unsupported-tokenizer',
    'tokenizer.ggml.pre',
  ],
  ['no tokens', (m) => m.delete('tokenizer.ggml.tokens'), 'file-invalid', 'tokenizer.ggml.tokens'],
  [
    'tokens that are numbers',
    (m) => m.set('tokenizer.ggml.tokens', { type: 'array', items: 'int32', value: [1] }),
    'file-invalid',
    'tokenizer.ggml.tokens',
  ],
  ['no merges', (m) => m.delete('tokenizer.ggml.merges'), 'file-invalid', 'tokenizer.ggml.merges'],
  [
    'too few types',
    (m) => m.set('tokenizer.ggml.token_type', { type: 'array', items: 'int32', value: [1] }),
    'file-invalid',
    'tokenizer.ggml.token_type',
  ],
])('a GGUF tokenizer with %s is refused', (_, damage, code, at) => {
  const metadata: Map<string, GgufValue> & GgufMetadata = new Map(ggufTokenizerMetadata('gpt-2'));
  damage(metadata);
  expect(() => ggufTokenizer(metadata, 'a.gguf')).toThrow(
    expect.objectContaining({ code, context: expect.objectContaining({ at: `a.gguf: ${at}` }) }),
  );
});

const noFiles = (): never => {
  throw new Error('not asked for');
};

test('a tokenizer.json that is none is refused', () => {
  expect(() => createTokenizer({ model: {} }, 'tokenizer.json', noFiles)).toThrow(
    expect.objectContaining({ code: 'file-invalid' }),
  );
  expect(() => create({ pre_tokenizer: { type: 'Sudachi' } })).toThrow(
    expect.objectContaining({ code: 'unsupported-tokenizer' }),
  );
});

const real = '../shared/models/SmolLM2-135M-Instruct.Q4_1.gguf';
const reference = '../shared/models/SmolLM2-135M-reference.json';
const reason = existsSync(real) ? '' : ` (skipped: there is no ${real})`;
test.skipIf(!existsSync(real))(`SmolLM2 gives the reference ids${reason}`, async () => {
  const { cases } = JSON.parse(readFileSync(reference, 'utf8')) as {
    cases: { text: string; tokens: number[] }[];
  };
  const model = await openModel(real);
  const tokenizer = await model.tokenizer();
  for (const { text, tokens } of cases) expect([...tokenizer.encode(text)]).toEqual(tokens);
  await model.close();
});
