import * as fc from 'fast-check';
import { expect, test } from 'vitest';
import {
  changedLayers,
  cheapest,
  resolveBudgets,
  sweepBatches,
  underLimits,
  verify,
  whatIf,
  type Scenario,
} from '../../src/search/index.ts';
import { bestValue, everyFit, smallScenario } from './small-scenarios.ts';

const relative = (factor: number) => ({ kind: 'relative' as const, factor });

test('a grid gives the optimum at every point, and a looser budget is never worse', async () => {
  await fc.assert(
    fc.asyncProperty(smallScenario, async (scenario) => {
      const factors = [0.2, 0.4, 0.6, 0.8, 1];
      const vary = [{ measure: 'memory', limits: factors.map(relative) }];
      const points = await whatIf(scenario, vary, [
        { measure: 'latency', limit: relative(0.8) },
        { measure: 'memory', limit: relative(0.01) }, // gives way to the variation
      ]);
      expect(points).toHaveLength(factors.length);
      for (const { budgets, solution } of points) {
        const problem = underLimits(scenario, resolveBudgets(scenario, budgets));
        expect(solution.choice.length > 0 ? solution.value : undefined).toBe(bestValue(problem));
      }
      const values = points.map(({ solution }) => solution.value);
      expect(values.toSorted((a, b) => b - a)).toEqual(values);
      const feasible = points.filter(({ solution }) => solution.choice.length > 0);
      feasible.slice(1).forEach(({ changedLayers: changed, solution }, i) => {
        expect(changed).toEqual(changedLayers(scenario, feasible[i]!.solution.choice, solution.choice));
      });
    }),
    { numRuns: 6 },
  );
});

test('two varied budgets make a grid, the last one fastest', async () => {
  const [scenario] = fc.sample(smallScenario, { numRuns: 1, seed: 5 });
  const points = await whatIf(scenario!, [
    { measure: 'memory', limits: [relative(0.5), relative(1)] },
    { measure: 'latency', limits: [relative(0.5), relative(0.75), relative(1)] },
  ]);
  expect(
    points.map(({ budgets }) => budgets.map(({ limit }) => (limit.kind === 'relative' ? limit.factor : NaN))),
  ).toEqual([
    [0.5, 0.5],
    [0.5, 0.75],
    [0.5, 1],
    [1, 0.5],
    [1, 0.75],
    [1, 1],
  ]);
});

test('the cheapest resource for a score is what trying all choices gives, and then the best score at that cost', async () => {
  await fc.assert(
    fc.asyncProperty(
      smallScenario,
      fc.integer({ min: 0, max: 40 }),
      fc.constantFrom(0, 1),
      async (scenario, eighths, resource) => {
        const scoreLimit = eighths / 8;
        const problem = underLimits(
          scenario,
          resolveBudgets(scenario, [{ measure: 'latency', limit: relative(0.9) }]),
        );
        const good = everyFit(problem).filter(({ value }) => value <= scoreLimit);
        const { least, best } = await cheapest(problem, resource, scoreLimit);
        const totals = good.map((tried) => tried.totals[resource]!);
        expect(least.choice.length > 0).toBe(good.length > 0);
        expect(least.choice.length > 0 ? least.value : Infinity).toBe(Math.min(...totals));
        const first = good.find((tried) => tried.totals[resource] === Math.min(...totals));
        expect(best.choice.length > 0 ? best.value : undefined).toBe(first?.value);
      },
    ),
    { numRuns: 25 },
  );
});

/** Memory and time grow with the batch, and so does the work done in that time. */
function atBatch(scenario: Scenario, batch: number): Scenario {
  const { problem, measures } = scenario;
  const groups = problem.groups.map((group) => ({
    ...group,
    alternatives: group.alternatives.map((alternative) => ({
      ...alternative,
      uses: alternative.uses.map((use, r) => (r === 2 ? use : use * (1 + batch / (r === 0 ? 8 : 16)))),
    })),
  }));
  return {
    ...scenario,
    problem: { ...problem, groups },
    measures: measures.map((measure) =>
      measure.tokens === undefined ? measure : { ...measure, tokens: 128 * batch },
    ),
  };
}

test('a batch sweep keeps the best score, of equal scores the highest throughput', async () => {
  await fc.assert(
    fc.asyncProperty(smallScenario, fc.integer({ min: 10, max: 60 }), async (scenario, gibibytes) => {
      const batches = [1, 2, 4, 8, 16];
      const budget = { measure: 'memory', limit: { kind: 'absolute' as const, value: gibibytes * 2 ** 30 } };
      const { rows, best } = await sweepBatches(batches, (batch) => atBatch(scenario, batch), [budget]);
      expect(rows.map(({ batch }) => batch)).toEqual(batches);
      const fitting = rows.filter(({ solution }) => solution.choice.length > 0);
      const score = Math.min(...fitting.map(({ solution }) => solution.value));
      const fastest = Math.max(
        ...fitting.filter(({ solution }) => solution.value === score).map((row) => row.throughput!),
      );
      expect(best?.solution.value ?? Infinity).toBe(score);
      expect(best?.throughput ?? -Infinity).toBe(fastest);
      for (const { batch, solution } of fitting) {
        const at = atBatch(scenario, batch);
        const problem = underLimits(at, resolveBudgets(at, [budget]));
        expect(verify(problem, solution.choice).violations).toEqual([]);
        expect(solution.value).toBe(bestValue(problem));
      }
    }),
    { numRuns: 6 },
  );
});
