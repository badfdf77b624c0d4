/** javascript-lp-solver: a dense simplex with branch and bound, without WebAssembly; for small problems. */

import type { SolverAPI } from 'javascript-lp-solver';
import { toChoice, toMip } from '../mip.ts';
import type { Problem, SolveOptions } from '../problem.ts';
import type { Answer } from './answer.ts';

interface LpModel {
  readonly optimize: string;
  readonly opType: 'min';
  readonly constraints: Record<string, { min?: number; max?: number }>;
  readonly variables: Record<string, Record<string, number>>;
  readonly binaries: Record<string, 1>;
  readonly timeout?: number;
  readonly tolerance: number;
}

export async function solveJavascript(problem: Problem, options: SolveOptions): Promise<Answer> {
  // The package's types describe its CommonJS form; at run time the default is the solver.
  const solver = (await import('javascript-lp-solver')).default as unknown as SolverAPI;
  const mip = toMip(problem);
  const variables = Array.from(mip.cost, (cost): Record<string, number> => ({ cost }));
  const constraints: LpModel['constraints'] = {};
  mip.rows.forEach(({ columns, values, lower, upper }, i) => {
    columns.forEach((column, k) => (variables[column]![`r${i}`] = values[k]!));
    constraints[`r${i}`] = {
      ...(lower > -Infinity && { min: lower }),
      ...(upper < Infinity && { max: upper }),
    };
  });
  const usable = variables.flatMap((variable, column) =>
    mip.columnUpper[column] === 0 ? [] : [[`x${column}`, variable] as const],
  );
  const model: LpModel = {
    optimize: 'cost',
    opType: 'min',
    constraints,
    variables: Object.fromEntries(usable),
    binaries: Object.fromEntries(usable.map(([name]) => [name, 1])),
    tolerance: options.gap ?? 0,
    ...(options.timeLimitMs !== undefined && { timeout: options.timeLimitMs }),
  };
  const start = performance.now();
  const result = solver.Solve(model) as unknown as Record<string, number> & { readonly feasible: boolean };
  const expired = options.timeLimitMs !== undefined && performance.now() - start >= options.timeLimitMs;
  const leastCost = mip.toValue(0);
  if (!result.feasible) {
    return expired ? { kind: 'unknown', bound: leastCost, nodes: 0 } : { kind: 'infeasible', nodes: 0 };
  }
  const values = Array.from(mip.cost, (_, column) => result[`x${column}`] ?? 0);
  return {
    kind: 'found',
    choice: toChoice(problem, mip, values),
    proven: !expired,
    bound: leastCost,
    nodes: 0,
  };
}
