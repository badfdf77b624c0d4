import { expect, test } from 'vitest';
import { withAttentionFactor } from '../../src/pipeline/laws.ts';
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
  const scaled = withAttentionFactor(scenario, 2, [true, false]);
  expect(scoresOf(scaled)).toEqual([[0, 1, 2], scores[1]]);
  expect([...scaled.samples![0]![1]!]).toEqual([0.5, 1.5]);
  expect(scaled.samples![1]).toEqual(scenario.samples![1]);
});
