import { expect, test } from 'vitest';
import { estimateUncertainty, solve, type Problem } from '../../src/search/index.ts';
import { seededRandom, type Random } from '../../src/util/random.ts';

/** Layers of a teacher (no damage, cost 2) and two rivals of cost 1; the budget keeps the teacher in half of the layers. */
const layers = 6;
const damage = (layer: number, alternative: number): number =>
  alternative === 0 ? 0 : 1 + layer + (alternative === 2 ? 0.02 : 0);

const mean = (values: Float64Array): number => values.reduce((sum, value) => sum + value, 0) / values.length;

function drawn(
  random: Random,
  count: number,
  spread: number,
): { problem: Problem; samples: Float64Array[][] } {
  const samples = Array.from({ length: layers }, (_, layer) =>
    [0, 1, 2].map((alternative) =>
      Float64Array.from(
        { length: count },
        () => damage(layer, alternative) + (alternative === 0 ? 0 : spread * random.normal()),
      ),
    ),
  );
  const problem: Problem = {
    objective: { sense: 'minimise', metric: 'kl' },
    resources: [{ name: 'memory', fixed: 0, upper: layers * 1.5 }],
    constraints: [],
    groups: samples.map((group, layer) => ({
      name: `layer ${layer}`,
      layer,
      alternatives: group.map((values, a) => ({
        name: `${a}`,
        score: mean(values),
        uses: [a === 0 ? 2 : 1],
      })),
    })),
  };
  return { problem, samples };
}

test('without noise every choice is certain and the interval is a point', async () => {
  const { problem, samples } = drawn(seededRandom(1), 20, 0);
  const solution = await solve(problem);
  const { choices, score, samplesToSettle } = await estimateUncertainty(problem, samples, solution, {
    resamples: 20,
  });
  expect(choices.every(({ coinToss }) => !coinToss)).toBe(true);
  expect(choices.map(({ group, frequencies }) => frequencies[solution.choice[group]!])).toEqual(
    Array(layers).fill(1),
  );
  expect(score.low).toBeCloseTo(solution.value, 9);
  expect(score.high).toBeCloseTo(solution.value, 9);
  expect(samplesToSettle).toBe(20);
});

test('two rivals that noise cannot tell apart are a coin toss, a clear teacher is not; the same seed says the same', async () => {
  const { problem, samples } = drawn(seededRandom(2), 50, 0.3);
  const solution = await solve(problem);
  const first = await estimateUncertainty(problem, samples, solution, { seed: 9 });
  expect(await estimateUncertainty(problem, samples, solution, { seed: 9 })).toEqual(first);
  const { choices, samplesToSettle } = first;
  // The three least damaged layers are replaced, by far; which of two near rivals replaces them is noise.
  expect(choices.slice(3).every(({ frequencies, coinToss }) => frequencies[0]! > 0.99 && !coinToss)).toBe(
    true,
  );
  expect(choices.slice(0, 3).some(({ coinToss }) => coinToss)).toBe(true);
  for (const { frequencies } of choices) expect(frequencies.reduce((a, b) => a + b)).toBeCloseTo(1, 12);
  expect(samplesToSettle).toBeGreaterThan(50);
});

test('the interval covers the true score of a fixed choice as often as it says', async () => {
  const random = seededRandom(3);
  const runs = 200;
  let covered = 0;
  for (let run = 0; run < runs; run++) {
    const { problem, samples } = drawn(random, 12, 0.5);
    const choice = [1, 1, 1, 0, 0, 0];
    const value = choice.reduce(
      (sum, alternative, g) => sum + problem.groups[g]!.alternatives[alternative]!.score,
      0,
    );
    const solution = { ...(await solve(problem)), choice, value };
    const { score } = await estimateUncertainty(problem, samples, solution, { resamples: 1 });
    const truth = choice.reduce((sum, alternative, g) => sum + damage(g, alternative), 0);
    if (score.low <= truth && truth <= score.high) covered++;
  }
  expect(covered / runs).toBeGreaterThan(0.9);
  expect(covered / runs).toBeLessThan(0.99);
});

test('with as many samples as estimated, a coin toss is settled: fresh draws of that size choose alike', async () => {
  // The rivals' true difference is 0.02, its deviation per sample 0.05 * sqrt(2): (1.96 s / d)^2 = 48 samples.
  const { problem, samples } = drawn(seededRandom(8), 4000, 0.05);
  const solution = await solve(problem);
  const few = samples.map((group) => group.map((values) => values.slice(0, 4)));
  const { choices } = await estimateUncertainty(problem, few, solution, { resamples: 50, seed: 1 });
  const estimates = choices.flatMap(({ samplesToSettle = 0 }) =>
    samplesToSettle > 4 ? [samplesToSettle] : [],
  );
  const needed = estimates.length === 0 ? 4 : Math.max(...estimates);
  const random = seededRandom(21);
  let alike = 0;
  const runs = 40;
  for (let run = 0; run < runs; run++) {
    const { choice } = await solve(drawn(random, Math.max(needed, 48), 0.05).problem);
    if (choice.every((alternative, g) => alternative === [1, 1, 1, 0, 0, 0][g])) alike++;
  }
  expect(alike / runs).toBeGreaterThan(0.85);
});
