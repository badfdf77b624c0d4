import * as fc from 'fast-check';
import { expect, test } from 'vitest';
import {
  explain,
  explainInfeasibility,
  infeasibleError,
  lagrangianBound,
  measureValue,
  reportBudgets,
  resolveBudgets,
  solve,
  underLimits,
  verify,
  type Budget,
  type Constraint,
  type Limit,
  type Scenario,
} from '../../src/search/index.ts';
import { bestValue, everyFit, smallScenario } from './small-scenarios.ts';

/** Shares of the teacher's memory and latency, from hopeless to loose. */
const shares = fc.record({
  memory: fc.integer({ min: 1, max: 20 }).map((n) => n / 20),
  latency: fc.integer({ min: 1, max: 20 }).map((n) => n / 20),
  throughput: fc.option(fc.integer({ min: 20, max: 60 }).map((n) => n / 20)),
});

function budgetsOf({
  memory,
  latency,
  throughput,
}: {
  memory: number;
  latency: number;
  throughput: number | null;
}): Budget[] {
  return [
    { measure: 'memory', limit: { kind: 'relative', factor: memory } },
    { measure: 'latency', limit: { kind: 'relative', factor: latency } },
    ...(throughput === null
      ? []
      : [{ measure: 'throughput', limit: { kind: 'relative' as const, factor: throughput } }]),
  ];
}

/** Some scenarios carry demands of their own. */
const demands: fc.Arbitrary<readonly Constraint[]> = fc.constantFrom(
  [],
  [{ kind: 'force', group: 0, alternative: 0 } as const],
  [
    { kind: 'forbid', group: 0, alternative: 1 } as const,
    { kind: 'count', tag: 'attention', atLeast: 1 } as const,
  ],
);
const withDemands = (scenario: Scenario, constraints: readonly Constraint[]): Scenario => ({
  ...scenario,
  problem: { ...scenario.problem, constraints },
});

const upperOf = ({ measure, value }: Limit): number => measureValue(measure, value);

test('every number of an explanation is what trying all choices gives', async () => {
  await fc.assert(
    fc.asyncProperty(smallScenario, shares, demands, async (plain, share, constraints) => {
      const scenario = withDemands(plain, constraints);
      const limits = resolveBudgets(scenario, budgetsOf(share));
      const problem = underLimits(scenario, limits);
      const fits = everyFit(problem);
      fc.pre(fits.length > 0);
      const solution = await solve(problem);
      const best = fits[0]!.value;
      expect(solution.value).toBe(best);
      const { reasons, prices, exchanges, budgets } = await explain(scenario, limits, solution);

      for (const { group, chosen, runnerUp } of reasons) {
        const second = fits.find(({ choice }) => choice[group] !== chosen);
        expect(runnerUp?.regret).toBe(second && second.value - best);
        const check = runnerUp && verify(problem, runnerUp.choice);
        expect(check?.value).toBe(second?.value);
        expect(check?.violations ?? []).toEqual([]);
      }
      for (const { constraints: dropped, price } of prices) {
        const without = { ...problem, constraints: constraints.filter((_, c) => !dropped.includes(c)) };
        expect(price).toBe(best - bestValue(without)!);
      }
      for (const { limit, step, gain, gainAtMost, loss } of exchanges) {
        const moved = (sign: number): Limit[] => {
          const direction = limit.measure.tokens === undefined ? sign : -sign;
          return limits.map((other) =>
            other === limit ? { ...limit, value: limit.value + direction * step } : other,
          );
        };
        expect(gain).toBe(best - bestValue(underLimits(scenario, moved(1)))!);
        expect(gainAtMost ?? Infinity).toBeGreaterThanOrEqual(gain - 1e-9);
        const worse = bestValue(underLimits(scenario, moved(-1)));
        expect(loss).toBe(worse === undefined ? undefined : worse - best);
      }
      for (const { limit, used, binding } of budgets) {
        const over = limit.measure.tokens === undefined ? used - limit.value : limit.value - used;
        expect(over).toBeLessThanOrEqual(1e-9 * limit.value);
        // A budget binds when its resource's limits, taken away, leave something better, and it is the tightest of them.
        const others = limits.filter(({ measure }) => measure.resource !== limit.measure.resource);
        const own = limits.filter((other) => !others.includes(other));
        const tightest = own.every((other) => upperOf(other) >= upperOf(limit));
        expect(binding).toBe(tightest && bestValue(underLimits(scenario, others))! < best);
      }
    }),
    { numRuns: 12 },
  );
});

test('any multipliers of the right sign bound every choice, whatever the limits', () => {
  fc.assert(
    fc.property(
      smallScenario,
      shares,
      fc.array(fc.double({ min: 0, max: 3, noNaN: true }), { minLength: 3, maxLength: 3 }),
      (scenario, share, prices) => {
        const problem = underLimits(scenario, resolveBudgets(scenario, budgetsOf(share)));
        const best = bestValue(problem);
        fc.pre(best !== undefined);
        const multipliers = [-prices[0]! / 2 ** 30, -prices[1]!, 0];
        expect(lagrangianBound(problem, multipliers)).toBeLessThanOrEqual(best + 1e-9);
      },
    ),
    { numRuns: 50 },
  );
});

test('a shadow price bounds what any other limit can buy', async () => {
  await fc.assert(
    fc.asyncProperty(
      smallScenario,
      shares,
      fc.integer({ min: 1, max: 40 }),
      async (scenario, share, looser) => {
        const limits = resolveBudgets(scenario, budgetsOf(share).slice(0, 2));
        const problem = underLimits(scenario, limits);
        const solution = await solve(problem);
        const { multipliers } = solution;
        fc.pre(multipliers !== undefined && solution.choice.length > 0);
        const [memory] = await reportBudgets(scenario, limits, solution);
        const relaxedGap = solution.value - lagrangianBound(problem, multipliers);
        const more = limits.with(0, { ...limits[0]!, value: limits[0]!.value + looser * 2 ** 30 });
        const gain = solution.value - bestValue(underLimits(scenario, more))!;
        expect(gain).toBeLessThanOrEqual(relaxedGap + memory!.shadowPrice! * looser * 2 ** 30 + 1e-9);
      },
    ),
    { numRuns: 12 },
  );
});

test('infeasible: the nearest value of each budget fits and anything tighter does not; the conflict is minimal', async () => {
  await fc.assert(
    fc.asyncProperty(smallScenario, shares, async (plain, share) => {
      // The teacher is demanded in the first group, so that small budgets are too small.
      const scenario = withDemands(plain, [{ kind: 'force', group: 0, alternative: 0 }]);
      const limits = resolveBudgets(scenario, budgetsOf(share));
      fc.pre(bestValue(underLimits(scenario, limits)) === undefined);
      const infeasibility = await explainInfeasibility(scenario, limits);

      const feasibleAt = (limit: Limit, value: number): boolean =>
        bestValue(
          underLimits(
            scenario,
            limits.map((other) => (other === limit ? { ...limit, value } : other)),
          ),
        ) !== undefined;
      for (const { limit, nearest } of infeasibility.relaxations) {
        const unlimited = limit.measure.tokens === undefined ? Number.MAX_VALUE : Number.MIN_VALUE;
        expect(nearest !== undefined).toBe(feasibleAt(limit, unlimited));
        if (nearest === undefined) continue;
        const tighter = limit.measure.tokens === undefined ? nearest * (1 - 1e-6) : nearest * (1 + 1e-6);
        expect(feasibleAt(limit, nearest)).toBe(true);
        expect(feasibleAt(limit, tighter)).toBe(false);
      }
      const feasible = (conflict: typeof infeasibility.conflict): boolean => {
        const kept = conflict.flatMap((demand) => (demand.kind === 'budget' ? [demand.limit] : []));
        const forced = conflict.some(({ kind }) => kind === 'constraints');
        return bestValue(underLimits(forced ? scenario : plain, kept)) !== undefined;
      };
      const { conflict } = infeasibility;
      expect(feasible(conflict)).toBe(false);
      for (const demand of conflict)
        expect(feasible(conflict.filter((other) => other !== demand))).toBe(true);

      const error = infeasibleError(scenario, limits, infeasibility);
      expect(error.exitCode).toBe(3);
      expect(error.context.details).toMatchObject({
        budgets: infeasibility.relaxations.map(({ limit, nearest }) => ({
          name: limit.measure.name,
          limit: limit.value,
          nearest: nearest ?? null,
        })),
      });
    }),
    { numRuns: 12 },
  );
});
