/** Laws of how damages add up: ways to turn the scores of single blocks into a sum that is right about a student. */
import type { Scenario } from '../search/index.ts';

/** A scenario under a law: the same costs and samples' spread, other scores. */
export interface Law {
  readonly name: string;
  apply(scenario: Scenario): Scenario;
}

/** Replaced attention costs a factor more beside other replacements than alone. */
export const attentionFactor = (factor: number, isAttention: readonly boolean[]): Law => ({
  name: `attention x ${factor}`,
  apply: (scenario) => rescored(scenario, (slot, _, score) => (isAttention[slot] ? factor * score : score)),
});

/** Other scores; samples move along with their means. */
function rescored(
  scenario: Scenario,
  score: (slot: number, position: number, score: number) => number,
): Scenario {
  const { problem, samples } = scenario;
  const groups = problem.groups.map((group, slot) => ({
    ...group,
    alternatives: group.alternatives.map((alternative, position) => ({
      ...alternative,
      score: score(slot, position, alternative.score),
    })),
  }));
  return {
    ...scenario,
    problem: { ...problem, groups },
    ...(samples && {
      samples: samples.map((group, slot) =>
        group.map((values, position) => {
          const before = problem.groups[slot]!.alternatives[position]!.score;
          const factor = before === 0 ? 1 : groups[slot]!.alternatives[position]!.score / before;
          return values.map((value) => factor * value);
        }),
      ),
    }),
  };
}
