/** The main job: library, scores, costs, search, students; every stage does only what the store lacks. */
import type { CostTable, Workload } from '../hardware/index.ts';
import {
  constrained,
  explainInfeasibility,
  infeasibleError,
  reportBudgets,
  resolveBudgets,
  solve,
  underLimits,
  type BudgetReport,
  type Limit,
  type Scenario,
  type Solution,
} from '../search/index.ts';
import type { ReportProgress } from '../util/progress.ts';
import type { Damage, Damages } from './damages.ts';
import type { Hardware } from './hardware.ts';
import { searchInContext, type ContextOptions, type ContextStep } from './in-context.ts';
import { libraryStage, type TrainedLibrary } from './library-stage.ts';
import { modelScenario } from './model-scenario.ts';
import type { Prepared } from './prepare.ts';
import { refitSolution, type RefitOutcome, type RefittedBlocks } from './refit-stage.ts';
import { rivals } from './rivals.ts';
import { measuredWindows, scoreAndSolve, sumsOf, type Scoring, type ScoringRequest } from './scoring.ts';
import type { Store } from './store.ts';
import { studentStage, type Candidate, type EvaluatedCandidate } from './student-stage.ts';

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

export interface SearchRequest extends ScoringRequest {
  readonly workload: Workload;
  readonly hardware: Hardware;
  /** Search in context; absent: the sum of scores has the last word. */
  readonly context?: ContextOptions;
  /** Refit of the student found on its own activations; absent where none is asked for. */
  readonly refit?: {
    /** Gradient steps of each block after its closed form. */
    readonly trainSteps: number;
  };
  /** Whether to evaluate what simpler methods make under the same budgets beside the student. */
  readonly compare: boolean;
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
  const { limits } = scored;
  const { texts, options } = prepared;
  const students = { teacher, alternatives, library, texts: texts.evaluation, device: options.device };
  const context =
    request.context &&
    (await searchInContext(
      {
        ...students,
        teacherChoice,
        selection: texts.selection,
        context: measuredWindows(texts.score),
        isAttention: teacher.checkpoint.architecture.slots.map(({ kind }) => kind === 'attention'),
        ...(scored.projections && { projections: scored.projections }),
        scenario: scored.scenario,
        limits,
        solve: request.solve,
      },
      scored.solution,
      request.context,
      store,
      report,
    ));
  const { scenario, solution } = context ?? scored;
  const refit =
    request.refit &&
    (await refitSolution(prepared, students, solution.choice, request.refit.trainSteps, store, report));
  const weights = refit?.outcome.accepted === true ? refit.blocks : 'library';
  const candidates: readonly Candidate[] = [
    { name: 'searched', choice: solution.choice, weights },
    ...(weights === 'library'
      ? []
      : [{ name: 'without refit', choice: solution.choice, weights: 'library' } as const]),
    { name: 'teacher', choice: scenario.teacher, weights: 'library' },
    ...(request.compare ? rivals(scenario, limits, solution, request.seed) : []),
  ];
  return {
    prepared,
    workload,
    hardware,
    library,
    costs,
    scenario,
    limits,
    solution,
    scoring: { ...scored.scoring, ...sumsOf(scored, prepared, solution.choice) },
    path: context?.path ?? [],
    weights,
    ...(refit && { refit: refit.outcome }),
    budgets: await reportBudgets(scenario, limits, solution, request.solve),
    students: await studentStage(students, candidates, store, report),
  };
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
