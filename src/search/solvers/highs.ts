/** HiGHS (Huangfu & Hall, 2018), compiled to WebAssembly: the general solver for problems of any shape. */

import type { Highs, ModelData } from 'highs';
import type { Problem, SolveOptions } from '../problem.ts';
import { toChoice, toColumns, toMip, type Mip } from '../mip.ts';
import type { Answer } from './answer.ts';

let loaded: Promise<Highs> | undefined;

/** The package declares an ES default export for its CommonJS types; at run time the default is the loader. */
async function load(): Promise<Highs> {
  const module = await import('highs');
  return (module.default as unknown as () => Promise<Highs>)();
}

export async function solveHighs(problem: Problem, options: SolveOptions): Promise<Answer> {
  const highs = await (loaded ??= load());
  const mip = toMip(problem);
  const { modelStatus } = highs.constants;
  return highs.withModel(toModel(highs, mip), (model): Answer => {
    model.options.set({
      mip_rel_gap: options.gap ?? 0,
      mip_abs_gap: 0,
      mip_feasibility_tolerance: 1e-9,
      primal_feasibility_tolerance: 1e-9,
      dual_feasibility_tolerance: 1e-9,
      small_matrix_value: 1e-12,
      ...(options.timeLimitMs === undefined ? {} : { time_limit: options.timeLimitMs / 1000 }),
    });
    if (options.warmStart) model.setSolution({ colValue: toColumns(mip, options.warmStart) });
    const status = model.run().modelStatus;
    const nodes = Number(model.info.get('mip_node_count'));
    if (status === modelStatus.infeasible) return { kind: 'infeasible', nodes };
    const bound = mip.toValue(model.info.get('mip_dual_bound') as number);
    if (model.info.get('primal_solution_status') !== highs.constants.solutionStatus.feasible) {
      if (status !== modelStatus.timeLimit) throw new Error(`HiGHS ended with model status ${status}`);
      return { kind: 'unknown', bound, nodes };
    }
    const choice = toChoice(problem, mip, model.getSolution().colValue);
    return { kind: 'found', choice, proven: status === modelStatus.optimal, bound, nodes };
  });
}

function toModel(highs: Highs, { cost, columnUpper, rows }: Mip): ModelData {
  const starts = [0];
  for (const row of rows) starts.push(starts.at(-1)! + row.columns.length);
  return {
    numCols: cost.length,
    numRows: rows.length,
    colCost: cost,
    colLower: new Float64Array(cost.length),
    colUpper: columnUpper,
    rowLower: Float64Array.from(rows, (row) => Math.max(row.lower, -highs.infinity)),
    rowUpper: Float64Array.from(rows, (row) => Math.min(row.upper, highs.infinity)),
    matrix: {
      format: 'csr',
      numRows: rows.length,
      numCols: cost.length,
      starts: Int32Array.from(starts),
      indices: Int32Array.from(rows.flatMap((row) => row.columns)),
      values: Float64Array.from(rows.flatMap((row) => row.values)),
    },
    integrality: new Int32Array(cost.length).fill(highs.constants.variableType.integer),
  };
}
