/** The main job: library, scores, costs, search, students; every stage does only what the store lacks. */
import type { CostTable, Workload } from '../hardware/index.ts';
import {
  constrained,
  explainInfeasibility,
  infeasibleError,
  reportBudgets,
  resolveBudgets,
  solveDiverse,
  sweepBatches,
  underLimits,
  type BatchSweep,
  type BudgetReport,
  type Limit,
  type Scenario,
  type Solution,
  type WrittenConstraint,
} from '../search/index.ts';
import type { ReportProgress } from '../util/progress.ts';
import type { Damage, Damages } from './damages.ts';
import type { Hardware } from './hardware.ts';
import { searchInContext, type ContextOptions, type ContextStep } from './in-context.ts';
import { libraryStage, type TrainedLibrary } from './library-stage.ts';
import { modelScenario } from './model-scenario.ts';
import type { Outline, Prepared } from './prepare.ts';
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
import { studentStage, type Candidate, type EvaluatedCandidate, type Student } from './student-stage.ts';
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

export interface SearchRequest extends ScoringRequest {
  readonly workload: Workload;
  readonly hardware: Hardware;
  /** Search in context; absent: the sum of scores has the last word. */
  readonly context?: ContextOptions;
  /** What gradient BLD of the student's blocks may take; absent where none is asked for. */
  readonly training?: TrainingBudget;
  /** Whether to refit the student found on its own activations. */
  readonly refit: boolean;
  /** Whether to evaluate what simpler methods make under the same budgets beside the student. */
  readonly compare: boolean;
  /** Batches to choose from, instead of the workload's own. */
  readonly batches?: readonly number[];
  /** Beside those of the space. */
  readonly constraints?: { readonly written: readonly WrittenConstraint[]; readonly path: string };
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
  const { costs, workloadAt, scenarioAt } = costed(prepared, request);
  const fitting = await requireFeasible(prepared, request);
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
  const training =
    request.training &&
    (await trainSolution(
      prepared,
      students,
      {
        choice,
        damages: scenario.problem.groups.map(({ alternatives: all }, slot) => all[choice[slot]!]!.score),
      },
      request.training,
      store,
      report,
    ));
  const trained = training?.outcome.accepted === true ? training.blocks : 'library';
  const refit = request.refit
    ? await refitSolution(prepared, students, { choice, weights: trained }, store, report)
    : undefined;
  const weights = refit?.outcome.accepted === true ? refit.blocks : trained;
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
    ...(training && { training: training.outcome }),
    ...(refit && { refit: refit.outcome }),
    budgets: await reportBudgets(scenario, limits, solution, request.solve),
    students: await studentStage(students, candidates, store, report),
  };
}

/** What is known of a request before any damage is. */
function costed({ teacher, space, alternatives, teacherChoice }: Outline, request: SearchRequest) {
  const { hardware, batches = [request.workload.batch] } = request;
  const { architecture } = teacher.checkpoint;
  const workloadAt = (batch: number): Workload => ({ ...request.workload, batch });
  const costs = new Map(
    batches.map((batch): [number, CostTable] => [
      batch,
      hardware.costs(architecture.stream, alternatives, workloadAt(batch)),
    ]),
  );
  const scenarioAt = (batch: number, damages: Damages): Scenario => {
    const scenario = modelScenario({
      architecture,
      alternatives,
      teacher: teacherChoice,
      damages,
      metric: request.metric,
      costs: costs.get(batch)!,
      workload: workloadAt(batch),
    });
    const own = constrained(scenario, space.constraints, space.path);
    return request.constraints
      ? constrained(own, request.constraints.written, request.constraints.path)
      : own;
  };
  return { batches, costs, workloadAt, scenarioAt };
}

const noDamage: Damage = { mean: 0, samples: Float64Array.of(0), source: 'teacher' };

/**
 * Costs alone say whether anything fits; better now than after an hour of training.
 * @returns the batch of the highest throughput at which something does
 * @throws PuzzleError `infeasible` if nothing fits at any, with what would fit at the first
 */
export async function requireFeasible(from: Outline, request: SearchRequest): Promise<number> {
  const { batches, scenarioAt } = costed(from, request);
  const undamaged = from.alternatives.map((configs) => configs.map(() => noDamage));
  const { budgets, solve: options } = request;
  const { rows, best } = await sweepBatches(
    batches,
    (batch) => scenarioAt(batch, undamaged),
    budgets,
    options,
  );
  if (best !== undefined) return best.batch;
  // A time limit may have struck before the first answer: then scoring goes on, and the search has its say later.
  const undecided = rows.find(({ solution }) => solution.status !== 'infeasible');
  if (undecided !== undefined) return undecided.batch;
  const scenario = scenarioAt(batches[0]!, undamaged);
  const limits = resolveBudgets(scenario, budgets);
  throw infeasibleError(scenario, limits, await explainInfeasibility(scenario, limits, options));
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
