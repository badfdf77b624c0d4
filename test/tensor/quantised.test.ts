import { readFileSync } from 'node:fs';
import * as fc from 'fast-check';
import { expect, test } from 'vitest';
import { encodings, isEncoding, type Encoding } from '../../src/tensor/encoding.ts';

// Made by test/interop/make-quantised-fixture.py with the Python package `gguf`.
const fixture = JSON.parse(
  readFileSync(new URL('quantised-fixture.json', import.meta.url), 'utf8'),
) as Record<string, { bytes: string; floats: string }>;

const bytesOf = (base64: string): Uint8Array => Uint8Array.from(Buffer.from(base64, 'base64'));

test.each(Object.entries(fixture))('%s decodes to the bits that gguf gives', (name, { bytes, floats }) => {
  if (!isEncoding(name)) throw new Error(`${name} is no encoding`);
  const expected = new Float32Array(bytesOf(floats).buffer);
  const decoded = new Float32Array(expected.length);
  encodings[name].decode(bytesOf(bytes), decoded);
  expect(decoded).toEqual(expected);
});

test('the fixture covers every encoding but the plain ones', () => {
  expect(Object.keys(encodings).filter((name) => !(name in fixture))).toEqual(['F64', 'F32']);
});

// Made by the same script.
const { floats, encoded } = JSON.parse(
  readFileSync(new URL('encoded-fixture.json', import.meta.url), 'utf8'),
) as { floats: string; encoded: Record<'F16' | 'BF16' | 'Q8_0' | 'Q4_0', string> };

test.each(Object.entries(encoded))('%s encodes to the bytes that gguf gives', (name, bytes) => {
  if (!isEncoding(name)) throw new Error(`${name} is no encoding`);
  const expected = bytesOf(bytes);
  const target = new Uint8Array(expected.length);
  (encodings[name] as Encoding).encode!(new Float32Array(bytesOf(floats).buffer), target);
  expect(target).toEqual(expected);
});

test.each(['Q8_0', 'Q4_0'] as const)('%s: what was decoded encodes to the same again', (name) => {
  const { encode, decode } = encodings[name] as Required<Encoding>;
  const block = fc.array(fc.float({ min: -8, max: 8, noNaN: true }), { minLength: 32, maxLength: 32 });
  fc.assert(
    fc.property(block, fc.constantFrom(1, 1e-3, 1e-6, 1e-9), (values, scale) => {
      const once = new Uint8Array(encodings[name].blockBytes);
      encode(
        Float32Array.from(values, (value) => value * scale),
        once,
      );
      const decoded = new Float32Array(32);
      decode(once, decoded);
      const twice = new Uint8Array(once.length);
      encode(decoded, twice);
      expect(twice).toEqual(once);
    }),
    { numRuns: 300 },
  );
});
