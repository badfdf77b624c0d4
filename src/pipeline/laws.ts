/** The law of how damages add up: a way to turn the scores of single blocks into a sum that is right about a student. */
import type { Scenario } from '../search/index.ts';

/** Replaced attention costs a factor more beside other replacements than alone; samples move along with their means. */
export function withAttentionFactor(
  scenario: Scenario,
  factor: number,
  isAttention: readonly boolean[],
): Scenario {
  const { problem, samples } = scenario;
  const factorOf = (slot: number): number => (isAttention[slot] ? factor : 1);
  return {
    ...scenario,
    problem: {
      ...problem,
      groups: problem.groups.map((group, slot) => ({
        ...group,
        alternatives: group.alternatives.map((alternative) => ({
          ...alternative,
          score: factorOf(slot) * alternative.score,
        })),
      })),
    },
    ...(samples && {
      samples: samples.map((group, slot) =>
        group.map((values) => values.map((value) => factorOf(slot) * value)),
      ),
    }),
  };
}
