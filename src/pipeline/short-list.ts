/** Which alternatives matter to a solution: by how little they would cost it at its own prices. */
import { solveExact, type Problem, type Solution } from '../search/index.ts';
import type { BlockPlace } from './score-stage.ts';

export interface Rival extends BlockPlace {
  /** By how much the priced sum of scores rises with this alternative in place of the chosen one; about 0 or more. */
  readonly regret: number;
  /** Whether it takes less of what is scarce than the chosen one. */
  readonly isCheaper: boolean;
}

/** Every alternative that is not chosen, the closest rivals first. */
export function reducedScores(problem: Problem, solution: Solution): readonly Rival[] {
  const prices = solution.multipliers ?? relaxedMultipliers(problem);
  const sign = problem.objective.sense === 'minimise' ? 1 : -1;
  return problem.groups
    .flatMap(({ alternatives }, slot) => {
      const payment = (position: number): number =>
        -alternatives[position]!.uses.reduce((sum, use, r) => sum + prices[r]! * use, 0);
      const chosen = solution.choice[slot]!;
      return alternatives.flatMap(({ score }, position): Rival[] => {
        if (position === chosen) return [];
        const paid = payment(position) - payment(chosen);
        const regret = sign * (score - alternatives[chosen]!.score + paid);
        return [{ slot, position, regret, isCheaper: sign * paid < 0 }];
      });
    })
    .sort((a, b) => a.regret - b.regret);
}

/** Prices of the budgets alone, where the solver that respected every constraint knows none. */
const relaxedMultipliers = (problem: Problem): readonly number[] =>
  solveExact({ ...problem, constraints: [] }).multipliers ?? problem.resources.map(() => 0);
