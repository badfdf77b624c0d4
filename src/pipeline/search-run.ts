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
import type { Prepared } from './prepare.ts';
import { refitSolution, type RefitOutcome, type RefittedBlocks } from './refit-stage.ts';
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
  const { hardware, batches = [request.workload.batch] } = request;
  const { stream } = teacher.checkpoint.architecture;
  const workloadAt = (batch: number): Workload => ({ ...request.workload, batch });
  const costs = new Map(
    batches.map((batch): [number, CostTable] => [
      batch,
      hardware.costs(stream, alternatives, workloadAt(batch)),
    ]),
  );
  const scenarioAt = (batch: number, damages: Damages): Scenario => {
    const scenario = modelScenario({
      architecture: teacher.checkpoint.architecture,
      alternatives,
      teacher: teacherChoice,
      damages,
      metric: request.metric,
      costs: costs.get(batch)!,
      workload: workloadAt(batch),
    });
    const { space } = prepared;
    const own = constrained(scenario, space.constraints, space.path);
    return request.constraints
      ? constrained(own, request.constraints.written, request.constraints.path)
      : own;
  };
  const undamaged = alternatives.map((configs) => configs.map(() => noDamage));
  const fitting = await fittingBatch((batch) => scenarioAt(batch, undamaged), batches, request);

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
      batches,
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
    workload: workloadAt(batch),
    hardware,
    library,
    costs: costs.get(batch)!,
    scenario,
    limits,
    solution,
    others: request.others ? await othersThan(scenario, limits, solution, request.others, request) : [],
    ...(sweep && { batches: sweep }),
    scoring: { ...scored.scoring, ...sumsOf(scored, prepared, solution.choice) },
    path: context?.path ?? [],
    weights,
    ...(refit && { refit: refit.outcome }),
    budgets: await reportBudgets(scenario, limits, solution, request.solve),
    students: await studentStage(students, candidates, store, report),
  };
}

const noDamage: Damage = { mean: 0, samples: Float64Array.of(0), source: 'teacher' };

/**
 * Costs alone say whether anything fits; better now than after an hour of training.
 * @returns the batch of the highest throughput at which something does
 * @throws PuzzleError `infeasible` if nothing fits at any, with what would fit at the first
 */
async function fittingBatch(
  scenarioAt: (batch: number) => Scenario,
  batches: readonly number[],
  { budgets, solve: options }: SearchRequest,
): Promise<number> {
  const { rows, best } = await sweepBatches(batches, scenarioAt, budgets, options);
  if (best !== undefined) return best.batch;
  // A time limit may have struck before the first answer: then scoring goes on, and the search has its say later.
  const undecided = rows.find(({ solution }) => solution.status !== 'infeasible');
  if (undecided !== undefined) return undecided.batch;
  const scenario = scenarioAt(batches[0]!);
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
