/** Which part of a teacher's features stays: every step against brute force, every map against a fresh solve. */
import * as fc from 'fast-check';
import { expect, test } from 'vitest';
import {
  addProduct,
  cholesky,
  inverse,
  matrix,
  select,
  solve,
  type Matrix,
} from '../../src/algebra/index.ts';
import type { FeatureGrid } from '../../src/blocks/index.ts';
import { eliminate } from '../../src/library/elimination.ts';
import { dampened, leastSquaresOn } from '../../src/library/least-squares.ts';
import { narrow, type FeatureMap } from '../../src/library/narrowing.ts';
import { seededRandom } from '../../src/util/random.ts';

const range = (n: number): number[] => Array.from({ length: n }, (_, i) => i);

function featuresOf(seed: number, grid: FeatureGrid, outputs = 5): FeatureMap {
  const random = seededRandom(seed);
  const n = grid.groups * grid.members * grid.channels;
  const normal = (rows: number, columns: number): Matrix =>
    matrix(
      rows,
      columns,
      Float64Array.from({ length: rows * columns }, () => random.normal()),
    );
  const h = matrix(n, 3 * n);
  addProduct(h, normal(n, n), normal(3 * n, n));
  const gram = matrix(n, n);
  addProduct(gram, h, h);
  return {
    grid,
    map: normal(outputs, n),
    gram,
    contributions: Float64Array.from({ length: n }, () => random.uniform()),
  };
}

/** Channels by group and member. */
const channelsOf = ({ groups, members, channels }: FeatureGrid): number[][][] =>
  range(groups).map((g) =>
    range(members).map((m) => range(channels).map((c) => (g * members + m) * channels + c)),
  );

/** min_W tr((W - W0) A (W - W0)^T) with W on `kept` only, from the definition. */
function leastLoss({ map, gram }: FeatureMap, kept: readonly number[]): number {
  const a = dampened(gram);
  const b = matrix(map.rows, map.columns);
  addProduct(b, map, a);
  const all = b.data.reduce((sum, value, i) => sum + value * map.data[i]!, 0);
  if (kept.length === 0) return all;
  const right = select(b, range(b.rows), kept);
  const w = solve(cholesky(select(a, kept, kept))!, right);
  return all - w.data.reduce((sum, value, i) => sum + value * right.data[i]!, 0);
}

const partsOf = ({ groups, members, channels }: FeatureGrid): FeatureGrid[] =>
  range(groups)
    .flatMap((g) => range(members).map((m) => ({ groups: g + 1, members: m + 1, channels })))
    .filter((part) => part.groups < groups || part.members < members);

const grids = fc.record({
  groups: fc.integer({ min: 1, max: 4 }),
  members: fc.integer({ min: 2, max: 4 }),
  channels: fc.integer({ min: 1, max: 3 }),
});

test('elimination drops the group or head whose absence costs least, and its map is the least-squares one', () => {
  fc.assert(
    fc.property(fc.nat(), grids, (seed, grid) => {
      const features = featuresOf(seed, grid);
      const parts = partsOf(grid);
      const kept = narrow('elimination', features, parts);
      const of = (groups: number, members: number): number[] => {
        const index = parts.findIndex((part) => part.groups === groups && part.members === members);
        return index < 0 ? range(features.map.columns) : [...kept[index]!.channels];
      };
      const units = channelsOf(grid);
      const b = matrix(features.map.rows, features.map.columns);
      addProduct(b, features.map, dampened(features.gram));
      parts.forEach((part, index) => {
        const { channels, map } = kept[index]!;
        expect(channels).toHaveLength(part.groups * part.members * part.channels);
        expect(channels).toEqual(channels.toSorted((x, y) => x - y));
        const fresh = leastSquaresOn(dampened(features.gram), b, channels);
        map.data.forEach((value, i) => expect(value).toBeCloseTo(fresh.data[i]!, 6));
        // One group less than the part before it in the row: no other group would have cost less.
        if (part.groups === grid.groups) return;
        const before = of(part.groups + 1, part.members);
        expect(before).toEqual(expect.arrayContaining([...channels]));
        const losses = units
          .map((group) => group.flat())
          .filter((group) => group.some((c) => before.includes(c)))
          .map((group) =>
            leastLoss(
              features,
              before.filter((c) => !group.includes(c)),
            ),
          );
        expect(leastLoss(features, channels) / Math.min(...losses)).toBeLessThan(1 + 1e-9);
      });
      // The first head that goes is the cheapest of all.
      if (grid.groups > 1 || parts.length === 0) return;
      const losses = units[0]!.map((member) =>
        leastLoss(
          features,
          range(features.map.columns).filter((c) => !member.includes(c)),
        ),
      );
      expect(leastLoss(features, of(1, grid.members - 1)) / Math.min(...losses)).toBeLessThan(1 + 1e-9);
    }),
    { numRuns: 40 },
  );
});

test('parts nest, and a wider one is never worse', () => {
  fc.assert(
    fc.property(fc.nat(), grids, (seed, grid) => {
      const features = featuresOf(seed, grid);
      const parts = partsOf(grid);
      const kept = narrow('elimination', features, parts);
      parts.forEach((part, i) => {
        parts.forEach((wider, j) => {
          const isStep =
            (wider.groups === part.groups + 1 && wider.members === part.members) ||
            (wider.groups === grid.groups &&
              part.groups === grid.groups &&
              wider.members === part.members + 1);
          if (!isStep) return;
          expect(kept[j]!.channels).toEqual(expect.arrayContaining([...kept[i]!.channels]));
          const [narrowLoss, wideLoss] = [i, j].map((index) => leastLoss(features, kept[index]!.channels));
          expect(wideLoss).toBeLessThanOrEqual(narrowLoss! * (1 + 1e-9));
        });
      });
    }),
    { numRuns: 30 },
  );
});

test('single channels of one group: groups of one and the blocked elimination agree', () => {
  const grid = { groups: 1, members: 60, channels: 1 };
  const features = featuresOf(3, grid);
  const widths = [59, 40, 17, 1];
  const kept = narrow(
    'elimination',
    features,
    widths.map((members) => ({ ...grid, members })),
  );
  const a = dampened(features.gram);
  const { order } = eliminate(inverse(cholesky(a)!), features.map);
  widths.forEach((width, i) =>
    expect(kept[i]!.channels).toEqual(Array.from(order.subarray(0, width)).toSorted((x, y) => x - y)),
  );
});

test('iterative contribution drops what moves the output least together with all that is gone', () => {
  const grid = { groups: 1, members: 9, channels: 1 };
  const features = featuresOf(4, grid);
  const parts = range(8).map((i) => ({ ...grid, members: 8 - i }));
  const kept = narrow('iterative-contribution', features, parts);
  /** Energy of W0 h over dropped channels: straight from the definition. */
  const moved = (dropped: readonly number[]): number =>
    dropped.reduce(
      (sum, i) =>
        sum +
        dropped.reduce((inner, j) => {
          let product = 0;
          for (let r = 0; r < 5; r++)
            product += features.map.data[r * 9 + i]! * features.map.data[r * 9 + j]!;
          return inner + product * features.gram.data[i * 9 + j]!;
        }, 0),
      0,
    );
  let before = range(9);
  for (const { channels } of kept) {
    const gone = (left: readonly number[]): number[] => range(9).filter((c) => !left.includes(c));
    const costs = before.map((c) => moved(gone(before.filter((other) => other !== c))));
    expect(moved(gone(channels))).toBeCloseTo(Math.min(...costs), 6);
    before = [...channels];
  }
});

test('contribution keeps the heads and groups of the largest sums', () => {
  const grid = { groups: 2, members: 2, channels: 2 };
  const features = { ...featuresOf(5, grid), contributions: Float64Array.of(1, 2, 5, 0, 2, 2, 0, 3) };
  const [heads, group, one] = narrow('contribution', features, [
    { ...grid, members: 1 },
    { ...grid, groups: 1 },
    { groups: 1, members: 1, channels: 2 },
  ]);
  expect(heads!.channels).toEqual([2, 3, 4, 5]);
  expect(group!.channels).toEqual([0, 1, 2, 3]);
  expect(one!.channels).toEqual([2, 3]);
});
