import { expect, test } from 'vitest';
import { attentionFactor, crossTerms } from '../../src/pipeline/laws.ts';
import type { Scenario } from '../../src/search/index.ts';

const scores = [
  [0, 0.5, 1],
  [0, 0.25, 2],
];
const scenario: Scenario = {
  problem: {
    groups: scores.map((slot, index) => ({
      name: `${index}`,
      layer: index,
      alternatives: slot.map((score, a) => ({ name: `${a}`, score, uses: [3 - a] })),
    })),
    resources: [{ name: 'parameters', fixed: 0 }],
    objective: { sense: 'minimise', metric: 'kl' },
    constraints: [],
  },
  measures: [],
  blocks: [],
  teacher: [0, 0],
  teacherChosenBy: '',
  samples: scores.map((slot) => slot.map((score) => Float64Array.of(score / 2, 1.5 * score))),
};
const scoresOf = ({ problem }: Scenario): number[][] =>
  problem.groups.map(({ alternatives }) => alternatives.map(({ score }) => score));

test('a factor moves attention and its samples, and nothing else', () => {
  const scaled = attentionFactor(2, [true, false]).apply(scenario);
  expect(scoresOf(scaled)).toEqual([[0, 1, 2], scores[1]]);
  expect([...scaled.samples![0]![1]!]).toEqual([0.5, 1.5]);
  expect(scaled.samples![1]).toEqual(scenario.samples![1]);
});

test('cross terms are with the blocks of other slots, and help nobody', () => {
  const none = new Float32Array(2);
  const projections = [
    [none, Float32Array.of(1, 1), Float32Array.of(-2, -2)],
    [none, Float32Array.of(1, 3), Float32Array.of(0, -4)],
  ];
  // The student has alternative 1 in both slots.
  const law = crossTerms(0.5, projections, [1, 1]);
  // Slot 0 meets (1, 3): 1/2 mean(1 * 1 + 1 * 3) = 1, and for alternative 2 a negative product.
  // Slot 1 meets (1, 1): 1/2 mean(1 + 3) = 1, and a negative product.
  expect(scoresOf(law.apply(scenario))).toEqual([
    [0, 1.5, 1],
    [0, 1.25, 2],
  ]);
});
