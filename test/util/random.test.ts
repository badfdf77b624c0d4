import fc from 'fast-check';
import { expect, test } from 'vitest';
import { seededRandom } from '../../src/util/random.ts';

const draws = 20_000;

test('the same seed gives the same numbers, another seed others', () => {
  const take = (seed: number): number[] => {
    const random = seededRandom(seed);
    return Array.from({ length: 8 }, () => random.uniform());
  };
  expect(take(7)).toEqual(take(7));
  expect(take(7)).not.toEqual(take(8));
});

test('uniform and normal have the moments they should', () => {
  fc.assert(
    fc.property(fc.integer(), (seed) => {
      const random = seededRandom(seed);
      const uniform = Array.from({ length: draws }, () => random.uniform());
      const normal = Array.from({ length: draws }, () => random.normal());
      const mean = (values: number[]): number => values.reduce((sum, value) => sum + value, 0) / draws;
      const square = (values: number[]): number => mean(values.map((value) => value * value));
      // Five standard errors.
      const tolerance = 5 / Math.sqrt(draws);
      expect(Math.abs(mean(uniform) - 0.5)).toBeLessThan(tolerance * Math.sqrt(1 / 12));
      expect(Math.abs(mean(normal))).toBeLessThan(tolerance);
      expect(Math.abs(square(normal) - 1)).toBeLessThan(tolerance * Math.sqrt(2));
      expect(Math.min(...uniform)).toBeGreaterThanOrEqual(0);
      expect(Math.max(...uniform)).toBeLessThan(1);
    }),
    { numRuns: 10 },
  );
});

test('a shuffle keeps every item', () => {
  fc.assert(
    fc.property(fc.array(fc.integer()), fc.integer(), (items, seed) => {
      const shuffled = seededRandom(seed).shuffle(items);
      const ascending = (a: number, b: number): number => a - b;
      expect([...shuffled].sort(ascending)).toEqual([...items].sort(ascending));
    }),
  );
});
