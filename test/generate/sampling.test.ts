import fc from 'fast-check';
import { expect, test } from 'vitest';
import { likeliest, nucleusOf, sampler } from '../../src/generate/sampling.ts';
import { textStream } from '../../src/generate/text-stream.ts';

const logits = fc
  .array(fc.integer({ min: -64, max: 64 }), { minLength: 1, maxLength: 40 })
  .map((values) => Float32Array.from(values, (value) => value / 8));

test('at temperature 0 and at a vanishing top-p the likeliest token is chosen', () => {
  fc.assert(
    fc.property(logits, fc.integer({ min: 0, max: 99 }), (values, seed) => {
      const best = Math.max(...values);
      expect(values[sampler({ temperature: 0, topP: 1, seed })(values)]).toBe(best);
      expect(values[sampler({ temperature: 1, topP: 1e-9, seed })(values)]).toBe(best);
      expect(likeliest(values)).toBe(values.indexOf(best));
    }),
  );
});

test('the nucleus: the fewest tokens that reach the share, and the likeliest ones', () => {
  const shares = fc.float({ min: Math.fround(0.05), max: 1, noNaN: true });
  fc.assert(
    fc.property(logits, shares, (values, topP) => {
      const weights = Array.from(values, Math.exp);
      const sum = weights.reduce((a, b) => a + b, 0);
      const p = Float64Array.from(weights, (weight) => weight / sum);
      const nucleus = nucleusOf(p, topP);
      const sorted = Array.from(p).sort((a, b) => b - a);
      let total = 0;
      const fewest = sorted.findIndex((share) => (total += share) >= topP);
      expect(nucleus.map((candidate) => candidate.p)).toEqual(
        fewest < 0 ? sorted : sorted.slice(0, fewest + 1),
      );
      for (const { token, p: own } of nucleus) expect(p[token]).toBe(own);
    }),
  );
});

test('tokens come as often as their probability says; equal seeds choose equally', () => {
  const values = Float32Array.of(0, 1, 2, -3, 0.5);
  const temperature = 0.7;
  const weights = Array.from(values, (value) => Math.exp(value / temperature));
  const sum = weights.reduce((a, b) => a + b, 0);
  const [choose, again] = [
    sampler({ temperature, topP: 1, seed: 3 }),
    sampler({ temperature, topP: 1, seed: 3 }),
  ];
  const [draws, counts] = [5_000, Array.from(values, () => 0)];
  for (let draw = 0; draw < draws; draw++) {
    const token = choose(values);
    expect(again(values)).toBe(token);
    counts[token]!++;
  }
  // Chi-square with 4 degrees of freedom: 18.5 is exceeded once in a thousand.
  const chi = counts.reduce((total, count, token) => {
    const expected = (draws * weights[token]!) / sum;
    return total + (count - expected) ** 2 / expected;
  }, 0);
  expect(chi).toBeLessThan(18.5);
});

test('top-p never chooses what lies outside the nucleus', () => {
  const choose = sampler({ temperature: 1, topP: 0.6, seed: 1 });
  const chosen = new Set(Array.from({ length: 500 }, () => choose(Float32Array.of(2, 2, 0, 0, -1))));
  expect(chosen).toEqual(new Set([0, 1]));
});

/** Every token is one byte of UTF-8. */
const bytes = (ids: Iterable<number>): string => Buffer.from([...ids]).toString('utf8');

test('text appears in whole characters, and all of it', () => {
  fc.assert(
    fc.property(
      fc.string({ unit: 'grapheme', maxLength: 30 }),
      fc.string({ maxLength: 5 }),
      (text, before) => {
        const stream = textStream(bytes, [...Buffer.from(before)]);
        const pieces = [...Buffer.from(text)].map((byte) => stream.push(byte));
        const rest = stream.end();
        expect(pieces.join('') + rest).toBe(text);
        expect(rest).toBe('');
      },
    ),
  );
});

test('a character that never gets whole is shown at the end; a leading space is the tokenizer’s affair', () => {
  const stream = textStream(bytes, []);
  expect([stream.push(0x61), stream.push(0xe2), stream.push(0x82), stream.end()]).toEqual([
    'a',
    '',
    '',
    '\ufffd',
  ]);
  // SentencePiece drops the space before the first word of whatever it decodes.
  const words = ['', ' call', ' me'];
  const decode = (ids: Iterable<number>): string =>
    [...ids]
      .map((id) => words[id])
      .join('')
      .replace(/^ /, '');
  const after = textStream(decode, [1]);
  expect([after.push(2), after.push(1)]).toEqual([' me', ' call']);
});
