import { expect, test } from 'vitest';
import { openSequences, ownText } from '../../src/generate/index.ts';
import { bundledDecoder } from './bundled-decoder.ts';

const bundled = bundledDecoder();

const most = 24;
const options = () => ({
  count: 5,
  tokens: most,
  vocabularySize: bundled.checkpoint.architecture.stream.vocabularySize,
  seed: 3,
});

test('equal seeds give equal texts, other seeds others', async () => {
  const texts = await ownText(bundled.decoder, options());
  expect(texts.map(({ length }) => length)).toEqual([most, most, most, most, most]);
  expect(await ownText(bundled.decoder, options())).toEqual(texts);
  expect(await ownText(bundled.decoder, { ...options(), seed: 4 })).not.toEqual(texts);
});

test('every token is among those that the model, asked alone, takes for likely', async () => {
  for (const text of await ownText(bundled.decoder, options())) {
    const alone = await openSequences(bundled.decoder, most);
    for (let end = 1; end < most; end++) {
      const logits = await alone.append([text[end - 1]!]);
      // 2 % of the likeliest, and room for rounding
      expect(logits[text[end]!]!).toBeGreaterThan(Math.max(...logits) + Math.log(0.02) - 1e-3);
    }
    await alone.close();
  }
});

test('tokens come as often as the model says', async () => {
  const count = 400;
  // A vocabulary of which only one token can start a sequence.
  const texts = await ownText(bundled.decoder, { ...options(), count, tokens: 2, vocabularySize: 1 });
  expect(texts.every((text) => text[0] === 0)).toBe(true);
  const alone = await openSequences(bundled.decoder, 2);
  const logits = Array.from(await alone.append([0]));
  await alone.close();
  const top = Math.max(...logits);
  const shares = logits.map((logit) => (logit > top + Math.log(0.02) ? Math.exp(logit - top) : 0));
  const sum = shares.reduce((a, b) => a + b, 0);
  const likeliest = logits.indexOf(top);
  const p = shares[likeliest]! / sum;
  const seen = texts.filter((text) => text[1] === likeliest).length / count;
  expect(Math.abs(seen - p)).toBeLessThan(4 * Math.sqrt((p * (1 - p)) / count));
});
