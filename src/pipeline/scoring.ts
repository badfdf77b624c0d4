/** From a library to the proven optimum of its scores, whichever way they are taken. */
import { quadraticDamage, type BlockScore } from '../score/index.ts';
import {
  resolveBudgets,
  solve,
  underLimits,
  type Budget,
  type Choice,
  type Limit,
  type Problem,
  type Scenario,
  type Solution,
  type SolveOptions,
} from '../search/index.ts';
import { PuzzleError } from '../util/errors.ts';
import type { ReportProgress } from '../util/progress.ts';
import { onePassDamages, replaceOneDamage, type DamageMetric, type Damages } from './damages.ts';
import { hybridScores } from './hybrid.ts';
import type { TrainedLibrary } from './library-stage.ts';
import { onePassStage, type Projections } from './one-pass-stage.ts';
import type { Prepared } from './prepare.ts';
import { scoreStage, type ScoreStageInput } from './score-stage.ts';
import type { Store } from './store.ts';
import { windowsOf, type RunText } from './texts.ts';

/** How blocks are scored. */
export const scoreMethods = ['hybrid', 'one-pass', 'replace-one'] as const;
export type ScoreMethod = (typeof scoreMethods)[number];

export interface ScoringRequest {
  readonly budgets: readonly Budget[];
  readonly metric: DamageMetric;
  readonly scores: ScoreMethod;
  /** Of one-pass scores. */
  readonly seed: number;
  readonly solve: SolveOptions;
}

/** How sure the scores are, and what they say of the student. */
export interface Scoring {
  readonly method: ScoreMethod;
  /** Alternatives, the teacher's own not counted. */
  readonly blocks: number;
  /** Of these, replaced alone in the teacher and measured. */
  readonly measured: number;
  /** Sum of the student's damages as measured alone or by one pass, before any law. */
  readonly sumOfScores: number;
  /** The same with the cross terms of one-pass scores; absent without these. */
  readonly withCrossTerms?: number;
}

/** Replaces every block alone in the teacher: scores per slot and alternative. */
export async function score(
  prepared: Prepared,
  library: TrainedLibrary,
  store: Store,
  report: ReportProgress,
): Promise<readonly (readonly BlockScore[])[]> {
  const { alternatives, texts } = prepared;
  const places = alternatives.flatMap((group, slot) => group.map((_, position) => ({ slot, position })));
  const scores = await scoreStage(stageInput(prepared, library, texts.score), places, store, report);
  const perSlot = alternatives.map((): BlockScore[] => []);
  places.forEach(({ slot }, index) => perSlot[slot]!.push(scores[index]!));
  return perSlot;
}

const stageInput = (prepared: Prepared, library: TrainedLibrary, text: RunText): ScoreStageInput => ({
  ...prepared,
  library,
  text,
  device: prepared.options.device,
});

/** A proven optimum, and what it rests on. */
export interface Scored {
  readonly scenario: Scenario;
  readonly limits: readonly Limit[];
  readonly solution: Solution;
  readonly damages: Damages;
  readonly projections?: Projections;
  readonly scoring: Pick<Scoring, 'method' | 'blocks' | 'measured'>;
}

/** The share of the score text that hybrid scores measure single blocks on. */
const measuredText = 1 / 4;

/** How many of a library's blocks they may measure: most of a small one, a quarter of a large one. */
const mostMeasured = (blocks: number): number =>
  Math.floor(Math.min((3 / 4) * blocks, Math.max(200, blocks / 4)));

/** The windows on which single blocks are measured where one-pass scores cover the rest. */
export const measuredWindows = (text: RunText): RunText =>
  windowsOf(text, 0, Math.min(text.count, Math.max(4, Math.round(measuredText * text.count))));

/** Takes the scores that the store lacks and solves the search. */
export async function scoreAndSolve(
  prepared: Prepared,
  request: ScoringRequest,
  library: TrainedLibrary,
  scenarioOf: (damages: Damages) => Scenario,
  store: Store,
  report: ReportProgress,
): Promise<Scored> {
  const { alternatives, teacherChoice, texts } = prepared;
  const { metric, scores: method } = request;
  const blocks = alternatives.reduce((sum, group) => sum + group.length - 1, 0);
  const solveWith = async (
    damages: Damages,
  ): Promise<Omit<Scored, 'scoring'> & { readonly problem: Problem }> => {
    const scenario = scenarioOf(damages);
    const limits = resolveBudgets(scenario, request.budgets);
    const problem = underLimits(scenario, limits);
    const solution = await solve(problem, request.solve);
    if (solution.choice.length === 0) {
      throw new PuzzleError('bad-usage', 'The time limit struck before any architecture was found.', {
        at: '--time-limit',
        fix: 'Give it more time.',
      });
    }
    return { scenario, limits, problem, solution, damages };
  };
  if (method === 'replace-one') {
    const perSlot = await score(prepared, library, store, report);
    const damages = perSlot.map((slot, index) =>
      slot.map((one) => replaceOneDamage(one, slot[teacherChoice[index]!]!, metric)),
    );
    return { ...(await solveWith(damages)), scoring: { method, blocks, measured: blocks } };
  }
  const projections = await onePassStage(
    stageInput(prepared, library, texts.score),
    request.seed,
    store,
    report,
  );
  const onePass = onePassDamages(projections, teacherChoice, texts.score.window);
  if (method === 'one-pass')
    return { ...(await solveWith(onePass)), projections, scoring: { method, blocks, measured: 0 } };
  const input = stageInput(prepared, library, measuredWindows(texts.score));
  const own = { slot: 0, position: teacherChoice[0]! };
  const { measured, ...solved } = await hybridScores({
    onePass,
    teacherChoice,
    most: mostMeasured(blocks),
    kindOf: ({ slot, position }) =>
      `${prepared.teacher.checkpoint.architecture.slots[slot]!.kind} ${alternatives[slot]![position]!.kind}`,
    solve: solveWith,
    measure: async (places) => {
      const scores = await scoreStage(input, [...places, own], store, report);
      return scores.slice(0, -1).map((one) => replaceOneDamage(one, scores.at(-1)!, metric));
    },
  });
  return { ...solved, projections, scoring: { method, blocks, measured } };
}

/** What the scores say of a whole student, alone and together. */
export function sumsOf(
  { damages, projections }: Scored,
  { texts, teacherChoice }: Prepared,
  choice: Choice,
): Pick<Scoring, 'sumOfScores' | 'withCrossTerms'> {
  const sumOfScores = choice.reduce((sum, position, slot) => sum + damages[slot]![position]!.mean, 0);
  if (projections === undefined) return { sumOfScores };
  const together = new Float32Array(projections[0]![teacherChoice[0]!]!.length);
  choice.forEach((position, slot) =>
    projections[slot]![position]!.forEach((value, token) => (together[token]! += value)),
  );
  const perWindow = quadraticDamage(together, texts.score.window);
  return { sumOfScores, withCrossTerms: perWindow.reduce((sum, value) => sum + value, 0) / perWindow.length };
}
