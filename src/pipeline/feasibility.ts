/** What costs alone say of a request, before anything is trained: scenarios without damages, and whether one fits. */
import type { CostTable, Workload } from '../hardware/index.ts';
import {
  constrained,
  explainInfeasibility,
  infeasibleError,
  resolveBudgets,
  sweepBatches,
  type Budget,
  type Scenario,
  type SolveOptions,
  type WrittenConstraint,
} from '../search/index.ts';
import type { Damage, DamageMetric, Damages } from './damages.ts';
import type { Hardware } from './hardware.ts';
import { modelScenario } from './model-scenario.ts';
import type { Outline } from './prepare.ts';

export interface CostRequest {
  readonly workload: Workload;
  readonly hardware: Hardware;
  readonly budgets: readonly Budget[];
  readonly metric: DamageMetric;
  /** Batches to choose from, instead of the workload's own. */
  readonly batches?: readonly number[];
  /** Beside those of the space. */
  readonly constraints?: { readonly written: readonly WrittenConstraint[]; readonly path: string };
  readonly solve: SolveOptions;
}

/** Costs at every batch asked for, and the scenario that damages make of them. */
export function costed({ teacher, space, alternatives, teacherChoice }: Outline, request: CostRequest) {
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
export async function requireFeasible(
  from: Outline,
  request: CostRequest,
  { batches, scenarioAt } = costed(from, request),
): Promise<number> {
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
