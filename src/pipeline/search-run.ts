/** The main job: library, scores, costs, search, students; every stage does only what the store lacks. */
import { alternativesOf, loadSpace, sameBlock, type SearchSpace } from '../blocks/index.ts';
import type { CostTable, Workload } from '../hardware/index.ts';
import type { LibraryOptions } from '../library/index.ts';
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
  type Limit,
  type Scenario,
  type Solution,
  type SolveOptions,
} from '../search/index.ts';
import { PuzzleError } from '../util/errors.ts';
import type { ReportProgress } from '../util/progress.ts';
import type { Hardware } from './hardware.ts';
import { libraryStage, type TrainedLibrary } from './library-stage.ts';
import { modelScenario, type Damage } from './model-scenario.ts';
import { scoreStage, type DamageMetric, type ScoredLibrary } from './score-stage.ts';
import type { Store } from './store.ts';
import { studentStage, type Candidate, type EvaluatedCandidate } from './student-stage.ts';
import type { Teacher } from './teacher.ts';
import { loadTexts, type RunTexts, type TextOptions } from './texts.ts';

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
export async function prepare(teacher: Teacher, options: PreparedOptions): Promise<Prepared> {
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
    options,
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

/** Scores what is missing of the library. */
export const score = (
  prepared: Prepared,
  library: TrainedLibrary,
  store: Store,
  report: ReportProgress,
): Promise<ScoredLibrary> =>
  scoreStage(
    { ...prepared, library, text: prepared.texts.score, device: prepared.options.device },
    store,
    report,
  );

export interface SearchRequest {
  readonly workload: Workload;
  readonly hardware: Hardware;
  readonly budgets: readonly Budget[];
  readonly metric: DamageMetric;
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
  readonly scores: ScoredLibrary;
  readonly costs: CostTable;
  readonly scenario: Scenario;
  readonly limits: readonly Limit[];
  readonly solution: Solution;
  readonly budgets: readonly BudgetReport[];
  /** The student first; then, where compared, what simpler methods made. */
  readonly students: readonly EvaluatedCandidate[];
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
  const scenarioOf = (damages: readonly (readonly Damage[])[]): Scenario => {
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
  const scores = await score(prepared, library, store, report);
  const scenario = scenarioOf(scores.damages(request.metric));
  const limits = resolveBudgets(scenario, request.budgets);
  const problem = underLimits(scenario, limits);
  const solution = await solve(problem, request.solve);
  if (solution.choice.length === 0) {
    throw new PuzzleError('bad-usage', 'The time limit struck before any architecture was found.', {
      at: '--time-limit',
      fix: 'Give it more time.',
    });
  }
  const budgets = await reportBudgets(scenario, limits, solution, request.solve);
  const candidates = [
    { name: 'searched', choice: solution.choice, weights: 'library' } as const,
    { name: 'teacher', choice: scenario.teacher, weights: 'library' } as const,
    ...(request.compare ? rivals(scenario, limits, solution, request) : []),
  ];
  const students = await studentStage(
    { teacher, alternatives, library, texts: prepared.texts.evaluation, device: prepared.options.device },
    candidates,
    store,
    report,
  );
  return {
    prepared,
    workload,
    hardware,
    library,
    scores,
    costs,
    scenario,
    limits,
    solution,
    budgets,
    students,
  };
}

const noDamage: Damage = { mean: 0, samples: Float64Array.of(0) };

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
