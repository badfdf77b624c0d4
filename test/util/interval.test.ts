import { expect, test } from 'vitest';
import { groupedMeanInterval, meanInterval, shareInterval, studentT95 } from '../../src/util/interval.ts';
import { seededRandom } from '../../src/util/random.ts';

test.each([
  [1, 12.7062],
  [2, 4.30265],
  [3, 3.18245],
  [5, 2.57058],
  [10, 2.22814],
  [30, 2.04227],
])('Student t, %i degrees of freedom: %d as in the tables', (degrees, table) => {
  expect(studentT95(degrees)).toBeGreaterThan(table * 0.99);
  expect(studentT95(degrees)).toBeLessThan(table * 1.01);
});

test('the interval of a mean covers it 95 times in a hundred', () => {
  const random = seededRandom(1);
  const covered = Array.from({ length: 4000 }, () => {
    const { low, high } = meanInterval(Array.from({ length: 6 }, () => 3 + random.normal()));
    return Number(low <= 3 && 3 <= high);
  }).reduce((a, b) => a + b, 0);
  expect(covered / 4000).toBeGreaterThan(0.935);
  expect(covered / 4000).toBeLessThan(0.965);
  expect(meanInterval([2])).toEqual({ value: 2, low: -Infinity, high: Infinity });
});

test('the interval of a share: within [0, 1], around the value, as published', () => {
  // Newcombe 1998, table I, method 3: 81/263 and 0/20
  const many = shareInterval(81, 263);
  expect(many.low).toBeCloseTo(0.2553, 4);
  expect(many.high).toBeCloseTo(0.3662, 4);
  const none = shareInterval(0, 20);
  expect(none.low).toBe(0);
  expect(none.high).toBeCloseTo(0.1611, 4);
  expect(shareInterval(20, 20).high).toBe(1);
});

test('a mean over groups: that of their means where sizes are equal; a group of one sample hardly weighs', () => {
  const groups = [
    [1, 2],
    [4, 3],
    [2, 8],
  ];
  const means = meanInterval([1.5, 3.5, 5]);
  for (const bound of ['value', 'low', 'high'] as const)
    expect(groupedMeanInterval(groups)[bound]).toBeCloseTo(means[bound], 12);
  expect(groupedMeanInterval([[1, 2, 5]])).toEqual(meanInterval([1, 2, 5]));
  const long = Array.from({ length: 400 }, (_, i) => i % 2);
  expect(groupedMeanInterval([long, long, [1]]).value).toBeCloseTo(401 / 801, 12);
  // Two equal halves leave no doubt but the one sample's pull.
  const { low, high } = groupedMeanInterval([long, long, [1]]);
  expect(high - low).toBeLessThan(0.02);
});
