import fc from 'fast-check';
import { expect, test } from 'vitest';
import { assignments, probeSteps, type Prospect } from '../../src/pipeline/training-plan.ts';

const positive = fc.double({ min: 1e-3, max: 1e3, noNaN: true });
const tried = fc.record({
  damage: positive,
  rate: fc.oneof(fc.constant(0), positive),
  stepCost: positive,
});

const costOf = (plan: ReturnType<typeof assignments>): number =>
  plan.reduce((sum, { block, steps }) => sum + steps * (block.stepCost ?? 0), 0);

test('a round costs no more than its share, and takes the better half of what still gains', () => {
  fc.assert(
    fc.property(fc.array(tried, { minLength: 1, maxLength: 40 }), positive, (blocks: Prospect[], share) => {
      const plan = assignments(blocks, share);
      expect(costOf(plan)).toBeLessThanOrEqual(share * (1 + 1e-9));
      expect(plan.length).toBeLessThanOrEqual(Math.ceil(blocks.length / 2));
      for (const { block, steps } of plan) {
        expect(block.rate).toBeGreaterThan(0);
        expect(steps % 4).toBe(0);
      }
      // Only the price of four steps keeps a better block out.
      const worst = Math.min(...plan.map(({ block }) => block.rate!));
      const left = blocks.filter((block) => !plan.some((other) => other.block === block));
      for (const { rate, stepCost } of left)
        if (rate! > worst) expect(4 * stepCost!).toBeGreaterThan(share / Math.ceil(blocks.length / 2));
    }),
  );
});

test('the first round probes every block where costs are unknown, else the most damaging that can be paid', () => {
  fc.assert(
    fc.property(
      fc.array(positive, { minLength: 1, maxLength: 40 }),
      fc.integer({ min: 0, max: 50 }),
      (damages, paid) => {
        const untried = (stepCost: number | undefined): Prospect[] =>
          damages.map((damage) => ({ damage, rate: undefined, stepCost }));
        expect(assignments(untried(undefined), 1)).toHaveLength(damages.length);
        expect(assignments(untried(undefined), 0)).toEqual([]);
        const plan = assignments(untried(10), 10 * probeSteps * paid);
        expect(plan.map(({ block }) => block.damage)).toEqual(
          damages.toSorted((a, b) => b - a).slice(0, paid),
        );
        expect(plan.every(({ steps }) => steps === probeSteps)).toBe(true);
      },
    ),
  );
});

test('a block that did not gain is never tried again', () => {
  const stopped: Prospect = { damage: 1, rate: 0, stepCost: 1 };
  expect(assignments([stopped, stopped], 1e9)).toEqual([]);
  const untried: Prospect = { damage: 1, rate: undefined, stepCost: 1 };
  expect(assignments([stopped, untried], 1e9)).toEqual([]);
});
