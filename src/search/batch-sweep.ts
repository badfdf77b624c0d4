/** KV memory and time depend on the batch: search at each and keep the best (arXiv 2411.19146, section 4). */
import type { Solution, SolveOptions } from './problem.ts';
import { isBetter } from './budget-report.ts';
import { measureValue, resolveBudgets, underLimits, type Budget, type Scenario } from './scenario.ts';
import { solve } from './solve.ts';

interface BatchRow {
  readonly batch: number;
  readonly solution: Solution;
  /** Tokens per second of the solution at this batch; undefined when infeasible or not measured. */
  readonly throughput: number | undefined;
}

export interface BatchSweep {
  /** In the order asked for. */
  readonly rows: readonly BatchRow[];
  /** The best score; of equal scores the highest throughput. Undefined when no batch fits. */
  readonly best: BatchRow | undefined;
}

/**
 * @param scenarioAt the scenario with the costs of a batch; groups are the same for all.
 * @param budgets hold at every batch; relative ones refer to the teacher at that batch.
 */
export async function sweepBatches(
  batches: readonly number[],
  scenarioAt: (batch: number) => Scenario,
  budgets: readonly Budget[],
  options: SolveOptions = {},
): Promise<BatchSweep> {
  const rows: BatchRow[] = [];
  let best: BatchRow | undefined;
  for (const batch of batches) {
    const scenario = scenarioAt(batch);
    const problem = underLimits(scenario, resolveBudgets(scenario, budgets));
    const solution = await solve(problem, options);
    const row = { batch, solution, throughput: throughputOf(scenario, solution) };
    rows.push(row);
    if (solution.choice.length === 0) continue;
    if (best === undefined || isBetter(problem, solution.value, best.solution.value)) {
      best = row;
    } else if (
      !isBetter(problem, best.solution.value, solution.value) &&
      (row.throughput ?? 0) > (best.throughput ?? 0)
    ) {
      best = row;
    }
  }
  return { rows, best };
}

function throughputOf({ measures }: Scenario, { totals }: Solution): number | undefined {
  const measure = measures.find(({ name }) => name === 'throughput');
  return measure && totals.length > 0 ? measureValue(measure, totals[measure.resource]!) : undefined;
}
