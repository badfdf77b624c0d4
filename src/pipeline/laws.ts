/** Laws of how damages add up: ways to turn the scores of single blocks into a sum that is right about a student. */
import type { Choice, Scenario } from '../search/index.ts';
import type { Projections } from './one-pass-stage.ts';

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

/**
 * What a block adds along the Fisher root, times what the other blocks of a student add there. Only what makes matters
 * worse counts: negative products are what a search finds first and what vanishes first outside the quadratic range.
 *
 * @param choice the student around which the products are taken
 */
export function crossTerms(weight: number, projections: Projections, choice: Choice): Law {
  const together = new Float64Array(projections[0]![0]!.length);
  choice.forEach((position, slot) =>
    projections[slot]![position]!.forEach((value, token) => (together[token]! += value)),
  );
  return {
    name: `cross terms x ${weight}`,
    apply: (scenario) =>
      rescored(scenario, (slot, position, score) => {
        const own = projections[slot]![choice[slot]!]!;
        const along = projections[slot]![position]!;
        let product = 0;
        for (let t = 0; t < along.length; t++) product += along[t]! * (together[t]! - own[t]!);
        return score + weight * Math.max(0, product / along.length);
      }),
  };
}

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
