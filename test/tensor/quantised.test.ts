import { readFileSync } from 'node:fs';
import { expect, test } from 'vitest';
import { encodings, isEncoding } from '../../src/tensor/encoding.ts';

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
