import * as fc from 'fast-check';
import { expect, test } from 'vitest';
import {
  findMeasure,
  measureValue,
  resolveBudgets,
  tradeOff,
  underLimits,
  verify,
  type Scenario,
} from '../../src/search/index.ts';
import { everyFit, smallScenario, type Tried } from './small-scenarios.ts';

/** Lower is better for all but rates. */
function valueOf(scenario: Scenario, axis: string, tried: Tried): number {
  if (axis === 'score') return tried.value;
  const measure = findMeasure(scenario, axis);
  return measureValue(measure, tried.totals[measure.resource]!);
}

const axes = fc
  .constantFrom(
    ['memory', 'score'],
    ['score', 'memory'],
    ['throughput', 'score'],
    ['memory', 'latency'],
    ['parameters', 'throughput'],
  )
  .map(([x, y]) => ({ x, y }));

test('the front is what trying all choices gives: every non-dominated point and no other', async () => {
  await fc.assert(
    fc.asyncProperty(
      smallScenario,
      axes,
      fc.integer({ min: 4, max: 20 }),
      async (scenario, { x, y }, share) => {
        const limits = resolveBudgets(scenario, [
          { measure: 'latency', limit: { kind: 'relative', factor: share / 20 } },
        ]);
        const problem = underLimits(scenario, limits);
        const scoreLimit = 5;
        const scoreFree = x === 'score' || y === 'score';
        const tried = everyFit(problem).filter(({ value }) => scoreFree || value <= scoreLimit);
        const worse = (axis: string, a: Tried, b: Tried): number =>
          (axis === 'throughput' ? -1 : 1) * (valueOf(scenario, axis, a) - valueOf(scenario, axis, b));
        const undominated = tried.filter(
          (a) =>
            !tried.some(
              (b) => worse(x, b, a) <= 0 && worse(y, b, a) <= 0 && (worse(x, b, a) < 0 || worse(y, b, a) < 0),
            ),
        );
        const expected = new Map(
          undominated.map((point) => [valueOf(scenario, x, point), valueOf(scenario, y, point)]),
        );
        const front = await tradeOff(scenario, limits, { x, y, ...(!scoreFree && { scoreLimit }) });
        expect(front.complete).toBe(true);
        expect(front.points.map((point) => [point.x, point.y])).toEqual(
          [...expected].sort(([a], [b]) => a - b),
        );
        for (const { choice } of front.points) expect(verify(problem, choice).violations).toEqual([]);
      },
    ),
    { numRuns: 10 },
  );
});

test('two axes of one sum, and an unknown axis, are refused', async () => {
  const scenario = fc.sample(smallScenario, { numRuns: 1, seed: 1 })[0]!;
  for (const [x, y] of [
    ['latency', 'throughput'],
    ['memory', 'memory'],
    ['score', 'score'],
    ['memory', 'beauty'],
  ] as const) {
    await expect(tradeOff(scenario, [], { x, y })).rejects.toMatchObject({ code: 'bad-usage' });
  }
});
