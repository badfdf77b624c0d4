/** The main job: library, scores, costs, search, students; every stage does only what the store lacks. */
import type { CostTable, Workload } from '../hardware/index.ts';
import {
  reportBudgets,
  resolveBudgets,
  solveDiverse,
  sweepBatches,
  underLimits,
  type BatchSweep,
  type BudgetReport,
  type Choice,
  type Limit,
  type Scenario,
  type Solution,
} from '../search/index.ts';
import type { ReportProgress } from '../util/progress.ts';
import { costed, requireFeasible, type CostRequest } from './feasibility.ts';
import type { Hardware } from './hardware.ts';
import { searchInContext, type ContextOptions, type ContextStep } from './in-context.ts';
import { libraryStage, type TrainedLibrary } from './library-stage.ts';
import type { Prepared } from './prepare.ts';
import { refitSolution, type RefitOutcome } from './refit-stage.ts';
import { rivals } from './rivals.ts';
import {
  measuredWindows,
  scoreAndSolve,
  sumsOf,
  type Scored,
  type Scoring,
  type ScoringRequest,
} from './scoring.ts';
import type { Store } from './store.ts';
import {
  studentStage,
  type Candidate,
  type EvaluatedCandidate,
  type Student,
  type StudentStageInput,
} from './student-stage.ts';
import type { TrainingBudget } from './training-plan.ts';
import { trainSolution, type TrainingOutcome } from './training-stage.ts';

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

export interface SearchRequest extends CostRequest, ScoringRequest {
  /** Search in context; absent: the sum of scores has the last word. */
  readonly context?: ContextOptions;
  /** What gradient BLD of the student's blocks may take; absent where none is asked for. */
  readonly training?: TrainingBudget;
  /** Whether to refit the student found on its own activations. */
  readonly refit: boolean;
  /** Whether to evaluate what simpler methods make under the same budgets beside the student. */
  readonly compare: boolean;
  /** Further architectures to find, but not to build. */
  readonly others?: { readonly count: number; readonly minDifferent: number };
}

export interface SearchOutcome {
  readonly prepared: Prepared;
  /** With the batch chosen. */
  readonly workload: Workload;
  readonly hardware: Hardware;
  readonly library: TrainedLibrary;
  readonly costs: CostTable;
  /** With the damages that the search ended with, under its law of how they add up. */
  readonly scenario: Scenario;
  readonly limits: readonly Limit[];
  readonly solution: Solution;
  /** The best that differ from the solution and each other as asked for. */
  readonly others: readonly Solution[];
  /** What each batch gave, by the sum of scores; absent where there was none to choose. */
  readonly batches?: BatchSweep;
  readonly scoring: Scoring;
  /** Students measured on the way; empty without search in context. */
  readonly path: readonly ContextStep[];
  /** The weights of the student: the library's, trained and refitted where that measured better. */
  readonly weights: Student['weights'];
  /** What gradient BLD did on the selection text; absent where it was not asked for. */
  readonly training?: TrainingOutcome;
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
  const { teacher, alternatives } = prepared;
  const costing = costed(prepared, request);
  const { costs, workloadAt, scenarioAt } = costing;
  const fitting = await requireFeasible(prepared, request, costing);
  const library = await distil(prepared, store, report);
  const scoredThere = await scoreAndSolve(
    prepared,
    request,
    library,
    (damages) => scenarioAt(fitting, damages),
    store,
    report,
  );
  const answerAt = (batch: number, solution: Solution): Pick<Scored, 'scenario' | 'limits' | 'solution'> => {
    const scenario = scenarioAt(batch, scoredThere.damages);
    return { scenario, limits: resolveBudgets(scenario, request.budgets), solution };
  };
  const sweep =
    request.batches &&
    (await sweepBatches(
      request.batches,
      (batch) => scenarioAt(batch, scoredThere.damages),
      request.budgets,
      request.solve,
    ));
  const batch = sweep?.best?.batch ?? fitting;
  const scored = sweep?.best ? { ...scoredThere, ...answerAt(batch, sweep.best.solution) } : scoredThere;
  const { limits } = scored;
  const { texts, options } = prepared;
  const students = { teacher, alternatives, library, texts: texts.evaluation, device: options.device };
  const context =
    request.context &&
    (await searchInContext(
      {
        ...students,
        selection: texts.selection,
        context: measuredWindows(texts.score),
        isAttention: teacher.checkpoint.architecture.slots.map(({ kind }) => kind === 'attention'),
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
  const { choice } = solution;
  const { trained, weights, training, refit } = await improved(
    prepared,
    students,
    {
      choice,
      damages: scenario.problem.groups.map((group, slot) => group.alternatives[choice[slot]!]!.score),
    },
    request,
    store,
    report,
  );
  const candidates: readonly Candidate[] = [
    { name: 'searched', choice, weights },
    ...(weights === trained ? [] : [{ name: 'without refit', choice, weights: trained } as const]),
    ...(trained === 'library' ? [] : [{ name: 'without training', choice, weights: 'library' } as const]),
    { name: 'teacher', choice: scenario.teacher, weights: 'library' },
    ...(request.compare ? rivals(scenario, limits, solution, request.seed) : []),
  ];
  return {
    prepared,
    workload: workloadAt(batch),
    hardware: request.hardware,
    library,
    costs: costs.get(batch)!,
    scenario,
    limits,
    solution,
    others: request.others ? await othersThan(scenario, limits, solution, request.others, request) : [],
    ...(sweep && { batches: sweep }),
    scoring: { ...scored.scoring, ...sumsOf(scored, prepared, choice) },
    path: context?.path ?? [],
    weights,
    ...(training && { training }),
    ...(refit && { refit }),
    budgets: await reportBudgets(scenario, limits, solution, request.solve),
    students: await studentStage(students, candidates, store, report),
  };
}

/** Better weights for the student found, each step kept only where it measures better. */
async function improved(
  prepared: Prepared,
  students: StudentStageInput,
  found: { readonly choice: Choice; readonly damages: readonly number[] },
  request: SearchRequest,
  store: Store,
  report: ReportProgress,
): Promise<{
  /** Before the refit. */
  readonly trained: Student['weights'];
  readonly weights: Student['weights'];
  readonly training: TrainingOutcome | undefined;
  readonly refit: RefitOutcome | undefined;
}> {
  const { choice } = found;
  const training = request.training
    ? await trainSolution(prepared, students, found, request.training, store, report)
    : undefined;
  const trained = training?.outcome.accepted === true ? training.blocks : 'library';
  const refit = request.refit
    ? await refitSolution(prepared, students, { choice, weights: trained }, store, report)
    : undefined;
  const weights = refit?.outcome.accepted === true ? refit.blocks : trained;
  return { trained, weights, training: training?.outcome, refit: refit?.outcome };
}

async function othersThan(
  scenario: Scenario,
  limits: readonly Limit[],
  { choice }: Solution,
  { count, minDifferent }: NonNullable<SearchRequest['others']>,
  { solve: options }: SearchRequest,
): Promise<readonly Solution[]> {
  const problem = underLimits(scenario, limits);
  const differs = { kind: 'differ', from: choice, atLeast: minDifferent, unit: 'layer' } as const;
  const others = await solveDiverse(
    { ...problem, constraints: [...problem.constraints, differs] },
    count,
    minDifferent,
    options,
  );
  return others.filter((other) => other.choice.length > 0);
}
