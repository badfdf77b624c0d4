/** Hybrid scores: one pass for every block, true measurements for those that the budgets asked are about. */
import type { Choice, Problem, Solution } from '../search/index.ts';
import { reducedScores } from './short-list.ts';
import { ratioDamage, type Damage, type Damages } from './damages.ts';
import type { BlockPlace } from './score-stage.ts';

export interface HybridInput {
  readonly onePass: Damages;
  readonly teacherChoice: Choice;
  /** Solves the search with these damages. */
  solve(damages: Damages): Promise<{ readonly problem: Problem; readonly solution: Solution }>;
  /** Measures blocks on the first windows of the score text. */
  measure(places: readonly BlockPlace[]): Promise<readonly Damage[]>;
  /** Share of all blocks that may be measured. */
  readonly share: number;
}

export interface HybridOutcome {
  readonly damages: Damages;
  readonly problem: Problem;
  readonly solution: Solution;
  readonly measured: number;
}

/** Rivals measured with the chosen blocks of a round. */
const rivalsPerRound = 24;

/**
 * Solves, measures the chosen blocks and their closest rivals by reduced score, and repeats until the architecture is
 * made of measured blocks and no longer moves, or the share is used up.
 */
export async function hybridScores({
  onePass,
  teacherChoice,
  solve,
  measure,
  share,
}: HybridInput): Promise<HybridOutcome> {
  const damages = onePass.map((slot) => [...slot]);
  const measured = new Set<string>();
  const most = share * onePass.reduce((sum, slot) => sum + slot.length - 1, 0);
  for (;;) {
    const { problem, solution } = await solve(damages);
    const outcome = { damages, problem, solution, measured: measured.size };
    if (solution.choice.length === 0) return outcome;
    const isOpen = ({ slot, position }: BlockPlace): boolean =>
      position !== teacherChoice[slot] && !measured.has(`${slot} ${position}`);
    const chosen = solution.choice.map((position, slot) => ({ slot, position })).filter(isOpen);
    const rivals = reducedScores(problem, solution).filter(isOpen).slice(0, rivalsPerRound);
    const places = chosen.concat(
      rivals.filter(
        (rival) => !chosen.some(({ slot, position }) => slot === rival.slot && position === rival.position),
      ),
    );
    const affordable = places.slice(0, Math.max(0, Math.ceil(most - measured.size)));
    // All chosen blocks measured: the rivals had their turn together with them.
    if (chosen.length === 0 || affordable.length === 0) return outcome;
    const truths = await measure(affordable);
    affordable.forEach(({ slot, position }, index) => {
      damages[slot]![position] = ratioDamage(truths[index]!, onePass[slot]![position]!);
      measured.add(`${slot} ${position}`);
    });
  }
}
