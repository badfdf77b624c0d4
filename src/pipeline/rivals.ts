/** What a searched student is compared with. */
import {
  dropLayers,
  randomChoices,
  underLimits,
  uniformChoice,
  type Limit,
  type Scenario,
  type Solution,
} from '../search/index.ts';
import type { Candidate } from './student-stage.ts';

/** How many random architectures are tried beside the searched one. */
const randomRivals = 5;

/**
 * What distillation and search each bought: the same architecture with the paper's initialisation only; random
 * architectures, uniform ones and dropped layers from the same library under the same budgets.
 */
export function rivals(
  scenario: Scenario,
  limits: readonly Limit[],
  solution: Solution,
  seed: number,
): readonly Candidate[] {
  const problem = underLimits(scenario, limits);
  const random = randomChoices(problem, randomRivals, seed);
  const named = { uniform: uniformChoice(problem), depth: dropLayers(scenario, problem) };
  return [
    { name: "paper's initialisation", choice: solution.choice, weights: 'paper' },
    ...random.map((choice, index): Candidate => ({
      name: `random ${index + 1}`,
      choice,
      weights: 'library',
    })),
    ...Object.entries(named).flatMap(([name, choice]): Candidate[] =>
      typeof choice === 'string' ? [] : [{ name, choice, weights: 'library' }],
    ),
  ];
}
