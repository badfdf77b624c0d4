import * as fc from 'fast-check';
import { expect, test } from 'vitest';
import { decodeBfloat16, decodeHalf, encodeBfloat16, encodeHalf } from '../../src/tensor/half.ts';

const half = (value: number): number => {
  const target = new Uint16Array(1);
  encodeHalf(Float32Array.of(value), target);
  return target[0]!;
};
const fromHalf = (bits: number): number => {
  const target = new Float32Array(1);
  decodeHalf(Uint16Array.of(bits), target);
  return target[0]!;
};

test('every half survives the way through float32', () => {
  const all = Uint16Array.from({ length: 0x10000 }, (_, i) => i);
  const floats = new Float32Array(all.length);
  const back = new Uint16Array(all.length);
  decodeHalf(all, floats);
  encodeHalf(floats, back);
  const differing = all.filter((bits, i) => back[i] !== bits && !Number.isNaN(floats[i]));
  expect(differing).toHaveLength(0);
  expect(back.filter((_, i) => Number.isNaN(floats[i])).every((bits) => Number.isNaN(fromHalf(bits)))).toBe(
    true,
  );
});

test('halves of known values (IEEE 754-2019, binary16)', () => {
  expect(half(1)).toBe(0x3c00);
  expect(half(-2)).toBe(0xc000);
  expect(half(65504)).toBe(0x7bff);
  expect(half(65519)).toBe(0x7bff);
  expect(half(65520)).toBe(0x7c00);
  expect(half(2 ** -24)).toBe(0x0001);
  expect(half(2 ** -25)).toBe(0x0000);
  expect(half(3 * 2 ** -25)).toBe(0x0002);
  expect(half(-0)).toBe(0x8000);
});

test('no other half is nearer', () => {
  fc.assert(
    fc.property(fc.float({ min: -65504, max: 65504, noNaN: true }), (value) => {
      const bits = half(value);
      const error = Math.abs(fromHalf(bits) - value);
      for (const other of [bits - 1, bits + 1]) {
        const distance = Math.abs(fromHalf(other & 0xffff) - value);
        const isBetter = distance < error || (distance === error && bits % 2 === 1);
        expect(isBetter).toBe(false);
      }
    }),
  );
});

test('bfloat16 keeps 8 bits of precision', () => {
  fc.assert(
    fc.property(fc.float({ min: Math.fround(-1e38), max: Math.fround(1e38), noNaN: true }), (value) => {
      const bits = new Uint16Array(1);
      const back = new Float32Array(1);
      encodeBfloat16(Float32Array.of(value), bits);
      decodeBfloat16(bits, back);
      expect(Math.abs(back[0]! - value)).toBeLessThanOrEqual(Math.max(Math.abs(value) * 2 ** -8, 2 ** -133));
    }),
  );
});

test('bfloat16 keeps NaN a NaN', () => {
  const bits = new Uint16Array(1);
  const back = new Float32Array(1);
  encodeBfloat16(new Float32Array(Uint32Array.of(0x7f800001).buffer), bits);
  decodeBfloat16(bits, back);
  expect(back[0]).toBeNaN();
});
