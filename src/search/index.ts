/** What the rest of the program may use of the search. */

export * from './problem.ts';
export { solve } from './solve.ts';
export { validate } from './validate.ts';
export { distance, verify, type Check } from './verify.ts';
export * from './scenario.ts';
export { readBlockLibrary, type LibraryOptions } from './interchange.ts';
export { readProblemFile, toProblemFile, type ProblemFile } from './problem-file.ts';
export { constraintsSchema, translateConstraints, type WrittenConstraint } from './constraint-schema.ts';
export { reportBudgets, type BudgetReport } from './budget-report.ts';
export { explain, type Explanation } from './explain.ts';
export { explainInfeasibility, infeasibleError, type Infeasibility } from './infeasibility.ts';
export { whatIf, type WhatIfPoint } from './what-if.ts';
export { sweepBatches, type BatchSweep } from './batch-sweep.ts';
export { cheapest } from './exchange-objective.ts';
export { lagrangianBound } from './relaxation.ts';
