/** Hybrid scores: one pass for every block, true measurements for those that the budgets asked are about. */
import type { Choice, Problem, Solution } from '../search/index.ts';
import { reducedScores } from './short-list.ts';
import { measuredDamage, scaled, type Damage, type Damages } from './damages.ts';
import type { BlockPlace } from './score-stage.ts';

/** A search solved with some damages. */
export interface Solved {
  readonly problem: Problem;
  readonly solution: Solution;
}

export interface HybridInput<S extends Solved> {
  readonly onePass: Damages;
  readonly teacherChoice: Choice;
  /** Solves the search with these damages. */
  solve(damages: Damages): Promise<S>;
  /** Measures blocks on the first windows of the score text. */
  measure(places: readonly BlockPlace[]): Promise<readonly Damage[]>;
  /** What blocks have in common that one-pass scores get wrong alike: `attention linear`. */
  kindOf(place: BlockPlace): string;
  /** Blocks that may be measured. */
  readonly most: number;
}

/** The last solve, with the damages that it was made with and how many of them were measured. */
export type HybridOutcome<S extends Solved> = S & { readonly damages: Damages; readonly measured: number };

/**
 * Standard deviations by which a block that was not measured looks better than expected. Blocks are measured because they
 * looked good, so their ratios are too high for the others: what looks worse than it is would never be tried (optimism
 * under uncertainty).
 */
const optimism = 1;

/** Rivals measured with the chosen blocks of a round. */
const rivalsPerRound = 24;

/**
 * Solves, measures the chosen blocks and their closest rivals by reduced score, and repeats until the architecture is
 * made of measured blocks, or no more may be measured. What was not measured is corrected by how far one-pass scores were
 * off on measured blocks of its kind: a block shall neither win nor lose by not having been measured.
 */
export async function hybridScores<S extends Solved>(input: HybridInput<S>): Promise<HybridOutcome<S>> {
  const { teacherChoice, solve, measure, most } = input;
  const measured = new Map<string, Damage>();
  for (;;) {
    const { problem, solution } = await solve(corrected(input, measured, optimism));
    if (solution.choice.length === 0) break;
    const isOpen = (place: BlockPlace): boolean =>
      place.position !== teacherChoice[place.slot] && !measured.has(keyOf(place));
    const chosen = solution.choice.map((position, slot) => ({ slot, position })).filter(isOpen);
    const rivals = reducedScores(problem, solution).filter(isOpen).slice(0, rivalsPerRound);
    const affordable = [...chosen, ...rivals].slice(0, Math.max(0, most - measured.size));
    // All chosen blocks measured: the rivals had their turn together with them.
    if (chosen.length === 0 || affordable.length === 0) break;
    const truths = await measure(affordable);
    affordable.forEach((place, index) => measured.set(keyOf(place), truths[index]!));
  }
  // Optimism is for asking: what was never measured goes on as it is expected to be.
  const damages = corrected(input, measured, 0);
  return { ...(await solve(damages)), damages, measured: measured.size };
}

const keyOf = ({ slot, position }: BlockPlace): string => `${slot} ${position}`;

/** Measured damages, and one-pass scores brought to their level. */
function corrected(
  { onePass, teacherChoice, kindOf }: Pick<HybridInput<Solved>, 'onePass' | 'teacherChoice' | 'kindOf'>,
  measured: ReadonlyMap<string, Damage>,
  deviations: number,
): Damages {
  const estimates = new Map<string, Damage>();
  const logRatios = new Map<string, number[]>();
  for (const [slot, group] of onePass.entries())
    for (const [position, score] of group.entries()) {
      const truth = measured.get(keyOf({ slot, position }));
      if (truth === undefined) continue;
      const estimate = measuredDamage(truth, score);
      estimates.set(keyOf({ slot, position }), estimate);
      const ratio = estimate.mean / score.mean;
      if (!(ratio > 0 && ratio < Infinity)) continue;
      const kind = kindOf({ slot, position });
      logRatios.set(kind, [...(logRatios.get(kind) ?? []), Math.log(ratio)]);
    }
  const overall = likelyRatio([...logRatios.values()].flat(), deviations);
  return onePass.map((group, slot) =>
    group.map((score, position) => {
      const known = estimates.get(keyOf({ slot, position }));
      if (known !== undefined || position === teacherChoice[slot]) return known ?? score;
      const logs = logRatios.get(kindOf({ slot, position })) ?? [];
      return scaled(score, logs.length >= fewestOfKind ? likelyRatio(logs, deviations) : overall);
    }),
  );
}

/** Measured blocks of a kind below which the ratio of all blocks is the better guess. */
const fewestOfKind = 4;

/** The geometric mean, less so many standard deviations of the logarithms. */
function likelyRatio(logs: readonly number[], deviations: number): number {
  if (logs.length === 0) return 1;
  const mean = logs.reduce((sum, log) => sum + log, 0) / logs.length;
  const variance = logs.reduce((sum, log) => sum + (log - mean) ** 2, 0) / logs.length;
  return Math.exp(mean - deviations * Math.sqrt(variance));
}
