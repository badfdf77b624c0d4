/** The main job: library, scores, costs, search, students; every stage does only what the store lacks. */
import { alternativesOf, loadSpace, sameBlock, type SearchSpace } from '../blocks/index.ts';
import type { CostTable, Workload } from '../hardware/index.ts';
import {
  closedFormOptions,
  defaultLibraryOptions,
  defaultRefitOptions,
  type LibraryOptions,
} from '../library/index.ts';
import type { BlockConfig } from '../model/index.ts';
import {
  constrained,
  dropLayers,
  explainInfeasibility,
  infeasibleError,
  randomChoices,
  reportBudgets,
  resolveBudgets,
  solve,
  underLimits,
  uniformChoice,
  type Budget,
  type BudgetReport,
  type Choice,
  type Limit,
  type Problem,
  type Scenario,
  type Solution,
  type SolveOptions,
} from '../search/index.ts';
import { quadraticDamage, type BlockScore } from '../score/index.ts';
import { PuzzleError } from '../util/errors.ts';
import { meanInterval, type Interval } from '../util/interval.ts';
import type { ReportProgress } from '../util/progress.ts';
import type { Hardware } from './hardware.ts';
import { libraryStage, type TrainedLibrary } from './library-stage.ts';
import { onePassDamages, replaceOneDamage, type Damage, type DamageMetric, type Damages } from './damages.ts';
import { hybridScores } from './hybrid.ts';
import { searchInContext, type ContextOptions, type ContextStep } from './in-context.ts';
import { isLower, openMeasure } from './measure-students.ts';
import { modelScenario } from './model-scenario.ts';
import { onePassStage, type Projections } from './one-pass-stage.ts';
import { refitStage, type RefittedBlocks } from './refit-stage.ts';
import { scoreStage, type ScoreStageInput } from './score-stage.ts';
import type { Store } from './store.ts';
import {
  studentStage,
  type Candidate,
  type EvaluatedCandidate,
  type StudentStageInput,
} from './student-stage.ts';
import type { Teacher } from './teacher.ts';
import { loadTexts, windowsOf, type RunText, type RunTexts, type TextOptions } from './texts.ts';

export interface PreparedOptions {
  readonly space: string;
  readonly texts: TextOptions;
  readonly library: LibraryOptions;
  readonly device: string;
}

/** What the stages that train and score need. */
export interface Prepared {
  readonly teacher: Teacher;
  readonly space: SearchSpace;
  /** Per slot; the teacher's own block is among them. */
  readonly alternatives: readonly (readonly BlockConfig[])[];
  /** Position of the teacher's own block, per slot. */
  readonly teacherChoice: readonly number[];
  readonly texts: RunTexts;
  readonly options: PreparedOptions;
}

/** Reads the space and the texts. Throws what they throw: nothing has been computed yet. */
export async function prepare(
  teacher: Teacher,
  { library, ...options }: Omit<PreparedOptions, 'library'> & { readonly library?: Partial<LibraryOptions> },
): Promise<Prepared> {
  const { architecture } = teacher.checkpoint;
  const space = await loadSpace(options.space);
  const alternatives = alternativesOf(space, architecture).map((configs, slot) => {
    const own = architecture.slots[slot]!.block;
    // Budgets and damages refer to the teacher's block, so it is there even where a space leaves it out.
    return configs.some((config) => sameBlock(config, own)) ? configs : [own, ...configs];
  });
  return {
    teacher,
    space,
    alternatives,
    teacherChoice: alternatives.map((configs, slot) =>
      configs.findIndex((config) => sameBlock(config, architecture.slots[slot]!.block)),
    ),
    texts: await loadTexts(options.texts, await teacher.checkpoint.tokenizer()),
    // A fine space keeps its closed forms unless told otherwise.
    options: {
      ...options,
      library: { ...(space.distil ? defaultLibraryOptions : closedFormOptions), ...library },
    },
  };
}

/** Trains what is missing of the library. */
export const distil = (
  { teacher, texts, alternatives, options }: Prepared,
  store: Store,
  report: ReportProgress,
): Promise<TrainedLibrary> =>
  libraryStage(
    { teacher, texts, alternatives, options: options.library, device: options.device },
    store,
    report,
  );

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

/** How blocks are scored. */
export const scoreMethods = ['hybrid', 'one-pass', 'replace-one'] as const;
export type ScoreMethod = (typeof scoreMethods)[number];

export interface SearchRequest {
  readonly workload: Workload;
  readonly hardware: Hardware;
  readonly budgets: readonly Budget[];
  readonly metric: DamageMetric;
  readonly scores: ScoreMethod;
  /** Search in context; absent: the sum of scores has the last word. */
  readonly context?: ContextOptions;
  /** Refit of the student found on its own activations; absent where none is asked for. */
  readonly refit?: {
    /** Gradient steps of each block after its closed form. */
    readonly trainSteps: number;
  };
  readonly seed: number;
  /** Whether to evaluate what simpler methods make under the same budgets beside the student. */
  readonly compare: boolean;
  readonly solve: SolveOptions;
}

export interface SearchOutcome {
  readonly prepared: Prepared;
  readonly workload: Workload;
  readonly hardware: Hardware;
  readonly library: TrainedLibrary;
  readonly costs: CostTable;
  /** With the damages that the search ended with, under its law of how they add up. */
  readonly scenario: Scenario;
  readonly limits: readonly Limit[];
  readonly solution: Solution;
  readonly scoring: Scoring;
  /** Students measured on the way; empty without search in context. */
  readonly path: readonly ContextStep[];
  /** The weights of the student: the library's, or refitted where that measured better. */
  readonly weights: 'library' | RefittedBlocks;
  /** What the refit did on the selection text; absent where it was not asked for. */
  readonly refit?: RefitOutcome;
  readonly budgets: readonly BudgetReport[];
  /** The student first; then, where compared, what simpler methods made. */
  readonly students: readonly EvaluatedCandidate[];
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

export interface RefitOutcome {
  /** Mean KL on the selection text. */
  readonly before: Interval;
  readonly after: Interval;
  readonly accepted: boolean;
}

/**
 * Runs whatever stages are missing and answers with a proven architecture and its measured student.
 * @throws PuzzleError `infeasible` before anything is trained, with the nearest feasible budgets
 */
export async function searchRun(
  prepared: Prepared,
  request: SearchRequest,
  store: Store,
  report: ReportProgress,
): Promise<SearchOutcome> {
  const { teacher, alternatives, teacherChoice } = prepared;
  const { workload, hardware } = request;
  const costs = hardware.costs(teacher.checkpoint.architecture.stream, alternatives, workload);
  const scenarioOf = (damages: Damages): Scenario => {
    const scenario = modelScenario({
      architecture: teacher.checkpoint.architecture,
      alternatives,
      teacher: teacherChoice,
      damages,
      metric: request.metric,
      costs,
      workload,
    });
    return constrained(scenario, prepared.space.constraints, prepared.space.path);
  };
  await requireFeasible(scenarioOf(alternatives.map((configs) => configs.map(() => noDamage))), request);

  const library = await distil(prepared, store, report);
  const scored = await scoreAndSolve(prepared, request, library, scenarioOf, store, report);
  const students = studentInput(prepared, library);
  const context = request.context && {
    ...(await searchInContext(
      {
        ...students,
        teacherChoice,
        selection: prepared.texts.selection,
        context: measuredWindows(prepared.texts.score),
        isAttention: teacher.checkpoint.architecture.slots.map(({ kind }) => kind === 'attention'),
        ...(scored.projections && { projections: scored.projections }),
        scenario: scored.scenario,
        limits: scored.limits,
        solve: request.solve,
      },
      scored.solution,
      request.context,
      store,
      report,
    )),
  };
  const { scenario, solution } = context ?? scored;
  const { limits } = scored;
  const refit = request.refit
    ? await refitSolution(prepared, students, solution.choice, request.refit.trainSteps, store, report)
    : undefined;
  const weights = refit?.accepted === true ? refit.blocks : 'library';
  const candidates: readonly Candidate[] = [
    { name: 'searched', choice: solution.choice, weights },
    ...(weights === 'library'
      ? []
      : [{ name: 'without refit', choice: solution.choice, weights: 'library' } as const]),
    { name: 'teacher', choice: scenario.teacher, weights: 'library' },
    ...(request.compare ? rivals(scenario, limits, solution, request) : []),
  ];
  const predicted = sumsOf(scored, prepared, solution.choice);
  return {
    prepared,
    workload,
    hardware,
    library,
    costs,
    scenario,
    limits,
    solution,
    scoring: { ...scored.scoring, ...predicted },
    path: context?.path ?? [],
    weights,
    ...(refit && { refit: { before: refit.before, after: refit.after, accepted: refit.accepted } }),
    budgets: await reportBudgets(scenario, limits, solution, request.solve),
    students: await studentStage(students, candidates, store, report),
  };
}

const studentInput = (
  { teacher, alternatives, texts, options: { device } }: Prepared,
  library: TrainedLibrary,
): StudentStageInput => ({ teacher, alternatives, library, texts: texts.evaluation, device });

interface Scored {
  readonly scenario: Scenario;
  readonly limits: readonly Limit[];
  readonly solution: Solution;
  readonly damages: Damages;
  readonly projections?: Projections;
  readonly scoring: Pick<Scoring, 'method' | 'blocks' | 'measured'>;
}

/** The share of all blocks that hybrid scores may measure, and of the score text that they are measured on. */
const [measuredBlocks, measuredText] = [1 / 4, 1 / 4];

/** The windows on which single blocks are measured where one-pass scores cover the rest. */
const measuredWindows = (text: RunText): RunText =>
  windowsOf(text, 0, Math.min(text.count, Math.max(4, Math.round(measuredText * text.count))));

async function scoreAndSolve(
  prepared: Prepared,
  request: SearchRequest,
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
  const { damages, measured } = await hybridScores({
    onePass,
    teacherChoice,
    share: measuredBlocks,
    kindOf: ({ slot, position }) =>
      `${prepared.teacher.checkpoint.architecture.slots[slot]!.kind} ${alternatives[slot]![position]!.kind}`,
    solve: solveWith,
    measure: async (places) => {
      const scores = await scoreStage(input, [...places, own], store, report);
      return scores.slice(0, -1).map((one) => replaceOneDamage(one, scores.at(-1)!, metric));
    },
  });
  return { ...(await solveWith(damages)), projections, scoring: { method, blocks, measured } };
}

/** What the scores say of a whole student, alone and together. */
function sumsOf(
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

/** Refits the student and says whether text that nothing was fitted on gains by it. */
async function refitSolution(
  { texts, options }: Prepared,
  students: StudentStageInput,
  choice: Choice,
  trainSteps: number,
  store: Store,
  report: ReportProgress,
): Promise<RefitOutcome & { readonly blocks: RefittedBlocks }> {
  const { chunkTokens } = options.library;
  const train = { ...defaultRefitOptions.train, steps: trainSteps };
  const refitOptions = { ...defaultRefitOptions, chunkTokens, train };
  const blocks = await refitStage(students, choice, texts, refitOptions, store, report);
  const measure = openMeasure(students, texts.selection, store);
  try {
    const before = await measure.kl({ choice, weights: 'library' });
    const after = await measure.kl({ choice, weights: blocks });
    return {
      blocks,
      before: meanInterval(before),
      after: meanInterval(after),
      accepted: isLower(after, before),
    };
  } finally {
    await measure.close();
  }
}

const noDamage: Damage = { mean: 0, samples: Float64Array.of(0), source: 'teacher' };

/** Costs alone say whether anything fits; better now than after an hour of training. */
async function requireFeasible(
  scenario: Scenario,
  { budgets, solve: options }: SearchRequest,
): Promise<void> {
  const limits = resolveBudgets(scenario, budgets);
  const { status } = await solve(underLimits(scenario, limits), options);
  if (status !== 'infeasible') return;
  throw infeasibleError(scenario, limits, await explainInfeasibility(scenario, limits, options));
}

/** How many random architectures are tried beside the searched one. */
const randomRivals = 5;

/**
 * What distillation and search each bought: the same architecture with the paper's initialisation only; random
 * architectures, uniform ones and dropped layers from the same library under the same budgets.
 */
function rivals(
  scenario: Scenario,
  limits: readonly Limit[],
  solution: Solution,
  { seed }: SearchRequest,
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
