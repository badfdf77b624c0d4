/** GLPK (Makhorin), compiled to WebAssembly: simplex and branch and bound. */

import type { GLPK } from 'glpk.js/node';
import { toChoice, toMip, type Row } from '../mip.ts';
import type { Problem, SolveOptions } from '../problem.ts';
import type { Answer } from './answer.ts';

let loaded: Promise<GLPK> | undefined;

async function load(): Promise<GLPK> {
  const { default: create } = await import('glpk.js/node');
  return create();
}

export async function solveGlpk(problem: Problem, options: SolveOptions): Promise<Answer> {
  const glpk = await (loaded ??= load());
  const mip = toMip(problem);
  const terms = (columns: readonly number[], values: ArrayLike<number>): { name: string; coef: number }[] =>
    columns.map((column, k) => ({ name: name(column), coef: values[k]! }));
  const columns = Array.from(mip.cost, (_, column) => column);
  const { status, vars } = glpk.solve(
    {
      name: 'search',
      objective: { direction: glpk.GLP_MIN, name: 'cost', vars: terms(columns, mip.cost) },
      subjectTo: mip.rows.map((row, i) => ({
        name: `r${i}`,
        vars: terms(row.columns, row.values),
        bnds: bounds(glpk, row),
      })),
      bounds: columns
        .filter((column) => mip.columnUpper[column] === 0)
        .map((column) => ({ name: name(column), type: glpk.GLP_FX, lb: 0, ub: 0 })),
      // GLPK's `binaries` would reset the bounds of forbidden columns.
      generals: columns.map(name),
    },
    {
      msglev: glpk.GLP_MSG_OFF,
      presol: true,
      mipgap: options.gap ?? 0,
      // Whole seconds; 0 would mean none.
      ...(options.timeLimitMs !== undefined && { tmlim: Math.max(1, Math.ceil(options.timeLimitMs / 1000)) }),
    },
  ).result;
  const worst = mip.toValue(0);
  if (status === glpk.GLP_OPT || status === glpk.GLP_FEAS) {
    const choice = toChoice(
      problem,
      mip,
      columns.map((column) => vars[name(column)] ?? 0),
    );
    return { kind: 'found', choice, proven: status === glpk.GLP_OPT, bound: worst, nodes: 0 };
  }
  // With its presolver GLPK reports an infeasible problem as undefined unless it ran out of time.
  const proven =
    status === glpk.GLP_NOFEAS || status === glpk.GLP_INFEAS || options.timeLimitMs === undefined;
  return proven ? { kind: 'infeasible', nodes: 0 } : { kind: 'unknown', bound: worst, nodes: 0 };
}

function name(column: number): string {
  return `x${column}`;
}

function bounds(glpk: GLPK, { lower, upper }: Row): { type: number; lb: number; ub: number } {
  if (lower === upper) return { type: glpk.GLP_FX, lb: lower, ub: upper };
  if (lower === -Infinity) return { type: upper === Infinity ? glpk.GLP_FR : glpk.GLP_UP, lb: 0, ub: upper };
  if (upper === Infinity) return { type: glpk.GLP_LO, lb: lower, ub: 0 };
  return { type: glpk.GLP_DB, lb: lower, ub: upper };
}
