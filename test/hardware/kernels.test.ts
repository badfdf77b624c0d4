import fc from 'fast-check';
import { expect, test } from 'vitest';
import { bestKnots } from '../../src/hardware/calibration/knots.ts';
import { choleskySolve } from '../../src/hardware/calibration/cholesky.ts';
import { fitSmooth } from '../../src/hardware/calibration/fit-smooth.ts';
import { krige } from '../../src/hardware/calibration/kriging.ts';
import { interpolate, packGrid } from '../../src/hardware/grid.ts';
import { attentionWork, gemmWork } from '../../src/hardware/kernel-call.ts';
import { smoothTimeMs } from '../../src/hardware/smooth.ts';

test('a grid gives back its knots, lies between them linearly in the logarithm, and says how far outside a point is', () => {
  const axes = [
    { name: 'a', knots: [1, 4, 16] },
    { name: 'b', knots: [2, 8] },
  ];
  const grid = packGrid(axes, Float64Array.from([0, 0.5, -1, 0.25, 0.8, 1]));
  const near = (at: { a: number; b: number }, expected: number): void =>
    expect(Math.abs(interpolate(grid, at).residual - expected)).toBeLessThan(0.01);
  near({ a: 1, b: 8 }, 0.5);
  near({ a: 4, b: 2 }, -1);
  near({ a: 2, b: 2 }, -0.5);
  near({ a: 8, b: 4 }, (-1 + 0.25 + 0.8 + 1) / 4);
  expect(interpolate(grid, { a: 64, b: 2 }).octavesOutside).toBe(2);
  near({ a: 64, b: 2 }, 0.8);
});

test('the chosen knots are the best of all subsets', () => {
  const curve = fc.array(fc.double({ min: -1, max: 1, noNaN: true }), { minLength: 7, maxLength: 7 });
  fc.assert(
    fc.property(fc.array(curve, { minLength: 1, maxLength: 3 }), (rows) => {
      const x = [0, 1, 2.5, 3, 4, 6, 7];
      const curves = rows.map((row) => Float64Array.from(row));
      const cost = (knots: readonly number[]): number =>
        curves.reduce(
          (total, values) =>
            total +
            x.reduce((sum, at, i) => {
              const right = knots.findIndex((knot) => knot >= i);
              const [a, b] = [knots[Math.max(0, right - 1)]!, knots[right]!];
              const share = a === b ? 0 : (at - x[a]!) / (x[b]! - x[a]!);
              return sum + Math.abs(values[i]! - values[a]! * (1 - share) - values[b]! * share);
            }, 0),
          0,
        );
      let best = Infinity;
      for (let i = 1; i < 5; i++) for (let j = i + 1; j < 6; j++) best = Math.min(best, cost([0, i, j, 6]));
      expect(cost(bestKnots(x, curves, 4))).toBeCloseTo(best, 9);
    }),
    { numRuns: 50 },
  );
});

test('the smooth fit finds the coefficients that made the times', () => {
  const truth = {
    computeEfficiency: 0.6,
    bandwidthEfficiency: 0.75,
    halfRamps: [40, 90, 60],
    sharpness: 2.2,
    overheadMs: 0.004,
  };
  const peaks = { flopsPerSecond: 9.9e14, bytesPerSecond: 3.35e12 };
  const samples = [1, 16, 128, 1024, 8192].flatMap((m) =>
    [256, 1024, 4096, 16384].flatMap((n) =>
      [256, 1024, 4096, 16384].map((k) => {
        const work = gemmWork({ kind: 'bf16', m, n, k });
        return { work, at: { m, n, k }, first: m, ms: smoothTimeMs(truth, work, peaks), shape: `${n}x${k}` };
      }),
    ),
  );
  const fitted = fitSmooth(samples, peaks);
  for (const { work, ms } of samples)
    expect(Math.abs(smoothTimeMs(fitted, work, peaks) / ms - 1)).toBeLessThan(0.02);
});

test('kriging returns what it knows, within its noise, and keeps to its neighbours', () => {
  const known = { features: [Float64Array.from([0, 1, 2, 3])], values: Float64Array.from([1, 2, 4, 3]) };
  expect(krige(known, [2])).toBeCloseTo(4, 0);
  expect(krige(known, [1.5])).toBeGreaterThan(2);
  expect(krige(known, [1.5])).toBeLessThan(4);
});

test('Cholesky solves random positive definite systems', () => {
  fc.assert(
    fc.property(
      fc.array(fc.double({ min: -2, max: 2, noNaN: true }), { minLength: 12, maxLength: 12 }),
      (v) => {
        const n = 3;
        const a = Array.from({ length: n * n }, (_, e) => {
          const [i, j] = [Math.floor(e / n), e % n];
          let sum = i === j ? 1 : 0;
          for (let k = 0; k < n; k++) sum += v[i * n + k]! * v[j * n + k]!;
          return sum;
        });
        const x = v.slice(9);
        const right = Float64Array.from({ length: n }, (_, i) =>
          x.reduce((sum, value, j) => sum + a[i * n + j]! * value, 0),
        );
        choleskySolve(Float64Array.from(a), right);
        for (let i = 0; i < n; i++) expect(right[i]).toBeCloseTo(x[i]!, 8);
      },
    ),
    { numRuns: 50 },
  );
});

test('work is counted exactly: products, causal triangles, windows', () => {
  expect(gemmWork({ kind: 'fp8', m: 2, n: 3, k: 5 })).toEqual({
    flops: 60,
    bytes: 15 + 2 * 8 * 2,
    ramps: [2, 3, 5],
  });
  const call = {
    phase: 'prefill',
    format: 'bf16',
    kv: 'bf16',
    heads: 4,
    kvHeads: 2,
    headDim: 8,
    batch: 1,
    length: 16,
  } as const;
  expect(attentionWork(call).flops).toBe((4 * 4 * 8 * (16 * 16)) / 2);
  expect(attentionWork({ ...call, window: 4 }).flops).toBe(4 * 4 * 8 * (4 * 16 - 8));
  expect(attentionWork({ ...call, phase: 'decode', window: 4 }).flops).toBe(4 * 4 * 8 * 4);
});
