import * as fc from 'fast-check';
import { expect, test } from 'vitest';
import {
  compareBaselines,
  resolveBudgets,
  solve,
  underLimits,
  verify,
  type Baseline,
  type Problem,
} from '../../src/search/index.ts';
import { greedy } from '../../src/search/baselines.ts';
import { everyFit, smallScenario } from './small-scenarios.ts';

const named = (baselines: readonly Baseline[], name: Baseline['name']): Baseline =>
  baselines.find((baseline) => baseline.name === name)!;

test('every baseline keeps the budgets, none beats the search, and each is the best of its own kind', async () => {
  await fc.assert(
    fc.asyncProperty(
      smallScenario,
      fc.integer({ min: 3, max: 20 }),
      fc.integer({ min: 3, max: 20 }),
      async (scenario, memory, latency) => {
        const limits = resolveBudgets(scenario, [
          { measure: 'memory', limit: { kind: 'relative', factor: memory / 20 } },
          { measure: 'latency', limit: { kind: 'relative', factor: latency / 20 } },
        ]);
        const problem = underLimits(scenario, limits);
        const fits = everyFit(problem);
        const { groups } = problem;
        const baselines = await compareBaselines(scenario, limits, { draws: 15 });
        expect(baselines.map(({ name }) => name)).toEqual([
          'greedy',
          'max-parameters',
          'no-op only',
          'depth',
          'uniform',
          'random',
        ]);
        for (const { choice, value } of baselines.filter((baseline) => baseline.choice !== undefined)) {
          expect(verify(problem, choice!)).toMatchObject({ violations: [], value });
          expect(value).toBeGreaterThanOrEqual(fits[0]!.value);
        }
        const most = Math.max(...fits.map(({ totals }) => totals[2]!));
        expect(named(baselines, 'max-parameters').totals[2] ?? -Infinity).toBe(most);

        const label = (choice: readonly number[], g: number): string[] =>
          Object.values(scenario.blocks[g]![choice[g]!]!);
        const best = (allowed: (choice: readonly number[]) => boolean): number | undefined =>
          fits.find(({ choice }) => allowed(choice))?.value;
        const noOpOnly = named(baselines, 'no-op only');
        const keptOrDropped = new Set(['kv4', '100', 'no-op']);
        expect(noOpOnly.choice && noOpOnly.value).toBe(
          best((choice) => groups.every((_, g) => label(choice, g).every((own) => keptOrDropped.has(own)))),
        );
        const depth = named(baselines, 'depth').choice;
        for (const layer of new Set(groups.map((group) => group.layer))) {
          const own = [...groups.keys()].filter((g) => depth !== undefined && groups[g]!.layer === layer);
          const isKept = own.every((g) => depth![g] === scenario.teacher[g]);
          expect(isKept || own.every((g) => label(depth!, g).every((name) => name === 'no-op'))).toBe(true);
        }
        const uniform = named(baselines, 'uniform');
        expect(uniform.choice && uniform.value).toBe(
          best((choice) => {
            const slots = groups.map(
              (_, g) => `${Object.keys(scenario.blocks[g]![0]!).join()}: ${label(choice, g).join()}`,
            );
            return new Set(slots).size === new Set(slots.map((slot) => slot.split(':')[0])).size;
          }),
        );
      },
    ),
    { numRuns: 25 },
  );
});

/** Two layers of two alternatives, budget 10: an even share is 5 each. */
const byHand: Problem = {
  objective: { sense: 'minimise', metric: 'kl' },
  resources: [{ name: 'memory', fixed: 2, upper: 12 }],
  constraints: [],
  groups: [
    // Mean score 4: visited second, with what the other left: 5 + (5 - 2) = 8.
    {
      name: 'a',
      layer: 0,
      alternatives: [
        { name: 'big', score: 0, uses: [8] },
        { name: 'small', score: 8, uses: [1] },
      ],
    },
    // Mean score 1: visited first; its teacher (6) doesn't fit the share of 5.
    {
      name: 'b',
      layer: 1,
      alternatives: [
        { name: 'big', score: 0, uses: [6] },
        { name: 'small', score: 2, uses: [2] },
      ],
    },
  ],
};

test('greedy visits layers by mean score, takes the best block that fits its share and carries the rest', () => {
  expect(greedy(byHand)).toEqual([0, 1]);
  expect(greedy({ ...byHand, resources: [{ name: 'memory', fixed: 2, upper: 11.9 }] })).toEqual([1, 1]);
});

test('greedy falls for a trap that the search sees', async () => {
  const trap: Problem = {
    ...byHand,
    groups: [
      {
        name: 'a',
        layer: 0,
        alternatives: [
          { name: 'x', score: 0, uses: [5] },
          { name: 'y', score: 0.1, uses: [1] },
        ],
      },
      {
        name: 'b',
        layer: 1,
        alternatives: [
          { name: 'x', score: 0, uses: [9] },
          { name: 'y', score: 9, uses: [1] },
        ],
      },
    ],
  };
  expect(greedy(trap)).toEqual([0, 1]);
  expect(await solve(trap)).toMatchObject({ choice: [1, 0], value: 0.1 });
});

test('random architectures come from the seed', async () => {
  const scenario = fc.sample(smallScenario, { numRuns: 1, seed: 11 })[0]!;
  const limits = resolveBudgets(scenario, [{ measure: 'memory', limit: { kind: 'relative', factor: 0.7 } }]);
  const first = named(await compareBaselines(scenario, limits, { seed: 3 }), 'random');
  const second = named(await compareBaselines(scenario, limits, { seed: 3 }), 'random');
  expect(second).toEqual(first);
});
