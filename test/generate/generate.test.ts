import { expect, test } from 'vitest';
import { endTokensOf, generate } from '../../src/generate/index.ts';
import { createTokenizer } from '../../src/model/index.ts';
import { bosId, byteVocabulary, tokenizerJson } from '../model/tiny-tokenizer.ts';
import { bundledDecoder } from './bundled-decoder.ts';

const bundled = bundledDecoder();

const greedy = { temperature: 0, topP: 1, seed: 0, endTokens: [], onToken: () => {} };
const prompt = async (): Promise<Int32Array> =>
  (await bundled.checkpoint.tokenizer()).encode('Call me Ishmael.');

test('tokens are told one by one; the phases say what was run', async () => {
  const told: number[] = [];
  const given = await prompt();
  const made = await generate(bundled.decoder, given, {
    ...greedy,
    maxTokens: 7,
    onToken: (token) => told.push(token),
  });
  expect(made.tokens).toEqual(told);
  expect(made).toMatchObject({
    stop: 'max-tokens',
    prefill: { tokens: given.length },
    decode: { tokens: 6 },
  });
  expect(made.tokens).toHaveLength(7);
  expect(made.decode.tokensPerSecond! * made.decode.milliseconds).toBeCloseTo(6000, 6);
  // One token alone is read off the prompt.
  const one = await generate(bundled.decoder, given, { ...greedy, maxTokens: 1 });
  expect(one.decode).toMatchObject({ tokens: 0 });
  expect(one.tokens).toEqual(told.slice(0, 1));
});

test('an end token ends the text and is no part of it', async () => {
  const given = await prompt();
  const { tokens } = await generate(bundled.decoder, given, { ...greedy, maxTokens: 12 });
  const end = tokens[5]!;
  const cut = await generate(bundled.decoder, given, { ...greedy, maxTokens: 12, endTokens: [end] });
  expect(cut.stop).toBe('end-token');
  expect(cut.tokens).toEqual(tokens.slice(0, tokens.indexOf(end)));
});

test('the context is filled to its last token; an abort ends between two tokens', async () => {
  const { contextLength } = bundled.checkpoint.architecture.stream;
  const long = Array.from({ length: contextLength - 4 }, (_, i) => (i * 31) % 1000);
  const made = await generate(bundled.decoder, long, { ...greedy, maxTokens: 100 });
  expect(made.stop).toBe('context-full');
  expect(made.tokens).toHaveLength(4);

  const control = new AbortController();
  let count = 0;
  const onToken = (): void => {
    if (++count === 3) control.abort();
  };
  const interrupted = await generate(bundled.decoder, await prompt(), {
    ...greedy,
    maxTokens: 100,
    signal: control.signal,
    onToken,
  });
  expect(interrupted.stop).toBe('interrupted');
  expect(interrupted.tokens).toHaveLength(3);
});

test('a prompt that is empty or leaves no room is refused', async () => {
  const { contextLength } = bundled.checkpoint.architecture.stream;
  for (const length of [0, contextLength, contextLength + 1])
    await expect(
      generate(bundled.decoder, new Int32Array(length), { ...greedy, maxTokens: 1 }),
    ).rejects.toMatchObject({ code: 'text-invalid', context: { at: '--prompt' } });
});

test('the end token is what tokenizer_config.json names, as a text or an object', () => {
  const token = byteVocabulary.tokens[bosId]!;
  const added = [{ id: bosId, content: token, special: true }];
  const withConfig = (config: object): readonly number[] => {
    const json = tokenizerJson({ added_tokens: added });
    const files = { 'tokenizer.json': '', 'tokenizer_config.json': JSON.stringify(config) };
    return endTokensOf(createTokenizer(json, 'tokenizer.json', () => files));
  };
  expect(withConfig({ eos_token: token })).toEqual([bosId]);
  expect(withConfig({ eos_token: { content: token, lstrip: false } })).toEqual([bosId]);
  expect(withConfig({ eos_token: null })).toEqual([]);
  expect(withConfig({})).toEqual([]);
});
