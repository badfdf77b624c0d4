/**
 * Search that is right about the student. The sum of scores is a law of how damages add up that holds only near the
 * teacher; this replaces it by what assembled students measure. First the law of how damages add up: whichever makes the
 * best student. Then rounds: the blocks that nearly
 * made it are measured in the student itself, the search is solved again with few slots free to change, and the new
 * student stays only where text that took part in no choice says so.
 */
import type { Choice, Limit, Problem, Scenario, Solution, SolveOptions } from '../search/index.ts';
import { distance, solve, solveDiverse, underLimits, verify } from '../search/index.ts';
import { meanInterval, type Interval } from '../util/interval.ts';
import type { ReportProgress } from '../util/progress.ts';
import { replaceOneDamage } from './damages.ts';
import { withAttentionFactor } from './laws.ts';
import { isLower, openMeasure } from './measure-students.ts';
import { scoreStage, type BlockPlace } from './score-stage.ts';
import { reducedScores } from './short-list.ts';
import type { Store } from './store.ts';
import { withCandidate, type StudentStageInput } from './student-stage.ts';
import type { RunText } from './texts.ts';

export interface ContextOptions {
  /** Rounds of re-scoring in the student; 0 leaves the law alone. */
  readonly rounds: number;
  /** No new round or student is started after this many minutes; none if absent. */
  readonly minutes?: number;
}

export interface ContextInput extends StudentStageInput {
  /** Decides what is kept; took part in no score. */
  readonly selection: RunText;
  /** Blocks are scored in the student on it. */
  readonly context: RunText;
  /** Which slots hold attention in the teacher. */
  readonly isAttention: readonly boolean[];
  readonly scenario: Scenario;
  readonly limits: readonly Limit[];
  readonly solve: SolveOptions;
}

/** One student on the way. */
export interface ContextStep {
  /** `sum of scores`, `attention x 2`, `round 1: 6 slots`. */
  readonly name: string;
  readonly choice: Choice;
  /** What the step's own law says, on the text it was scored on. */
  readonly predicted: number;
  /** Mean KL on the selection text. */
  readonly measured: Interval;
  readonly accepted: boolean;
}

export interface ContextOutcome {
  /** The scenario under the law that was found. */
  readonly scenario: Scenario;
  /** Its proven optimum, or a student that measures better with its true gap. */
  readonly solution: Solution;
  readonly path: readonly ContextStep[];
}

/** Factors on replaced attention that are tried. */
const attentionFactors = [1.5, 2, 2.5, 3, 4];

/** Diverse solutions tried beside the best under the law, and in how many layers each differs from all before. */
const [diverseSolutions, diverseLayers] = [3, 3];

/** Alternatives measured in the student each round. */
const shortListLength = 40;

const stage = 'search in context';

/** Slots that the first round may change. */
const firstRadius = 8;

/** Measures students, learns the law, and improves the best in rounds until nothing gains or time is up. */
export async function searchInContext(
  input: ContextInput,
  first: Solution,
  { rounds, minutes = Infinity }: ContextOptions,
  store: Store,
  report: ReportProgress,
): Promise<ContextOutcome> {
  const deadline = performance.now() + minutes * 60_000;
  const isUp = (): boolean => performance.now() > deadline;
  const measure = openMeasure(input, input.selection, store);
  const path: ContextStep[] = [];
  try {
    let scenario = input.scenario;
    let solution = first;
    let best = await measure.kl(unfitted(first.choice));
    const tried = new Map([[first.choice.join(), best]]);
    const consider = async (
      name: string,
      choice: Choice,
      predicted: number,
    ): Promise<{ readonly isBetter: boolean }> => {
      const known = tried.get(choice.join());
      const kl = known ?? (await measure.kl(unfitted(choice)));
      const accepted = known === undefined && isLower(kl, best);
      if (known === undefined) path.push({ name, choice, predicted, measured: meanInterval(kl), accepted });
      tried.set(choice.join(), kl);
      if (accepted) best = kl;
      if (known === undefined) report({ kind: 'advanced', stage, done: path.length, note: name });
      return { isBetter: accepted };
    };
    report({
      kind: 'stage-started',
      stage,
      total: attentionFactors.length + diverseSolutions + 1,
      unit: 'students',
    });
    path.push({
      name: 'sum of scores',
      choice: first.choice,
      predicted: first.value,
      measured: meanInterval(best),
      accepted: true,
    });

    for (const factor of attentionFactors) {
      if (isUp()) break;
      const scaled = withAttentionFactor(input.scenario, factor, input.isAttention);
      const candidate = await solve(underLimits(scaled, input.limits), input.solve);
      if (candidate.choice.length === 0) continue;
      const { isBetter } = await consider(`attention x ${factor}`, candidate.choice, candidate.value);
      if (isBetter) [scenario, solution] = [scaled, candidate];
    }

    const problem = underLimits(scenario, input.limits);
    const diverse = await solveDiverse(problem, 1 + diverseSolutions, diverseLayers, input.solve);
    for (const [index, candidate] of diverse.slice(1).entries()) {
      if (isUp()) break;
      const { isBetter } = await consider(`diverse solution ${index + 1}`, candidate.choice, candidate.value);
      if (isBetter) solution = asFeasible(problem, solution, candidate.choice);
    }
    report({ kind: 'stage-finished', stage, note: `KL ${meanInterval(best).value.toFixed(3)}` });

    let radius = firstRadius;
    for (let round = 1; round <= rounds && radius >= 1 && !isUp(); round++) {
      const local = await scoredInStudent(input, problem, solution, store, report);
      let gained = false;
      for (; radius >= 1 && !gained && !isUp(); radius = gained ? radius : Math.floor(radius / 2)) {
        const candidate = await solve(
          {
            ...local,
            constraints: [
              ...local.constraints,
              { kind: 'differ', from: solution.choice, atMost: radius, unit: 'group' },
            ],
          },
          input.solve,
        );
        if (candidate.choice.length === 0) break;
        const changed = distance(problem, candidate.choice, solution.choice, 'group');
        if (changed === 0) break;
        const name = `round ${round}: ${changed} ${changed === 1 ? 'slot' : 'slots'}`;
        const predicted = meanInterval(best).value + candidate.value;
        gained = (await consider(name, candidate.choice, predicted)).isBetter;
        if (gained) solution = asFeasible(problem, solution, candidate.choice);
      }
      if (!gained) break;
      radius *= 2;
    }
    return { scenario, solution, path };
  } finally {
    await measure.close();
  }
}

const unfitted = (choice: Choice) => ({ choice, weights: 'library' }) as const;

/** A choice that measures better than the proven optimum of the sum: what the sum says of it, with its true gap. */
function asFeasible(problem: Problem, proven: Solution, choice: Choice): Solution {
  const { value, totals } = verify(problem, choice);
  const gap = Math.abs(value - proven.bound) / Math.max(Math.abs(value), Math.abs(proven.bound));
  return { ...proven, status: 'feasible', choice, value, totals, gap };
}

/**
 * The problem around a student: scores are what replacing one more block changes there, measured; alternatives that
 * were not measured are out of the question. The short list holds the closest rivals on both sides, cheaper and dearer,
 * as one slot can only gain what another gives.
 */
async function scoredInStudent(
  input: ContextInput,
  problem: Problem,
  solution: Solution,
  store: Store,
  report: ReportProgress,
): Promise<Problem> {
  const rivals = reducedScores(problem, solution);
  const closest = (isCheaper: boolean): readonly BlockPlace[] =>
    rivals.filter((rival) => rival.isCheaper === isCheaper).slice(0, shortListLength / 2);
  const places = [...closest(true), ...closest(false)];
  const own = { slot: 0, position: solution.choice[0]! };
  const scores = await scoreStage({ ...input, text: input.context }, [...places, own], store, report, {
    choice: solution.choice,
    within: (use) => withCandidate(input, unfitted(solution.choice), use),
  });
  const marginal = new Map(
    places.map(({ slot, position }, index) => [
      `${slot} ${position}`,
      replaceOneDamage(scores[index]!, scores.at(-1)!, 'kl').mean,
    ]),
  );
  return {
    ...problem,
    groups: problem.groups.map((group, slot) => ({
      ...group,
      alternatives: group.alternatives.map((alternative, position) => ({
        ...alternative,
        score: marginal.get(`${slot} ${position}`) ?? 0,
      })),
    })),
    constraints: [
      ...problem.constraints,
      ...problem.groups.flatMap(({ alternatives }, slot) =>
        alternatives.flatMap((_, position) =>
          position === solution.choice[slot] || marginal.has(`${slot} ${position}`)
            ? []
            : [{ kind: 'forbid' as const, group: slot, alternative: position }],
        ),
      ),
    ],
  };
}
