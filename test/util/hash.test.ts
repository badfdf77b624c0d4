import fc from 'fast-check';
import { expect, test } from 'vitest';
import { canonicalJson, hashOf, type Json } from '../../src/util/hash.ts';

test('equal data hashes alike whatever the order of its keys', () => {
  fc.assert(
    fc.property(fc.dictionary(fc.string(), fc.jsonValue()), (data) => {
      const reversed = Object.fromEntries(Object.entries(data).reverse());
      expect(hashOf(reversed as Json)).toBe(hashOf(data as Json));
      expect(JSON.parse(canonicalJson(data as Json))).toEqual(JSON.parse(JSON.stringify(data)));
    }),
  );
});

test('different data hashes differently; members that are undefined do not count', () => {
  expect(hashOf({ a: 1 })).not.toBe(hashOf({ a: 2 }));
  expect(hashOf([1, 23])).not.toBe(hashOf([12, 3]));
  expect(hashOf({ a: 1, b: undefined })).toBe(hashOf({ a: 1 }));
});
