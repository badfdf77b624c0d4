import fc from 'fast-check';
import { expect, test } from 'vitest';
import { between } from '../../src/pipeline/interpolation.ts';
import { float32, inMemory, type StoredTensor } from '../../src/tensor/index.ts';

const value = fc.integer({ min: -1000, max: 1000 }).map((whole) => whole / 8);
const pairs = fc.array(fc.tuple(value, value), { minLength: 1, maxLength: 12 });
const stored = (values: readonly number[]): Record<string, StoredTensor> => ({
  o: inMemory('o', float32(Float32Array.from(values), [1, values.length])),
});

test('weights go straight from one set to the other, and are read when asked for', async () => {
  await fc.assert(
    fc.asyncProperty(pairs, fc.constantFrom(0.25, 0.5, 0.75, 1), async (both, share) => {
      const [a, b] = [both.map(([from]) => from), both.map(([, to]) => to)];
      const { o } = between(stored(a), stored(b), share);
      expect(o!.shape).toEqual([1, both.length]);
      expect(Array.from((await o!.load()).data)).toEqual(
        both.map(([from, to]) => Math.fround(from + share * (to - from))),
      );
    }),
  );
  const unread = { o: { ...stored([1]).o!, load: () => Promise.reject(new Error('read')) } };
  await expect(between(unread, stored([2]), 0.5).o!.load()).rejects.toThrow('read');
  expect((await between(unread, stored([2]), 1).o!.load()).data[0]).toBe(2);
});
