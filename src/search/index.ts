/** What the rest of the program may use of the search. */

export * from './problem.ts';
export { solve, solveExact } from './solve.ts';
export { solveDiverse } from './diverse.ts';
export { solveFront, type Front } from './front.ts';
export { validate } from './validate.ts';
export { distance, verify, type Check } from './verify.ts';
export * from './scenario.ts';
export { readBlockLibrary, type LibraryOptions } from './interchange.ts';
export { readProblemFile, toProblemFile, type ProblemFile } from './problem-file.ts';
export {
  constrained,
  constraintsSchema,
  translateConstraints,
  type WrittenConstraint,
} from './constraint-schema.ts';
export { reportBudgets, type BudgetReport } from './budget-report.ts';
export { explain, type Explanation } from './explain.ts';
export {
  describeConstraints,
  explainInfeasibility,
  infeasibleError,
  type Infeasibility,
} from './infeasibility.ts';
export { changedLayers, whatIf, type Variation, type WhatIfPoint } from './what-if.ts';
export { sweepBatches, type BatchSweep } from './batch-sweep.ts';
export { tradeOff, type TradeOff } from './trade-off.ts';
export { cheapest } from './exchange-objective.ts';
export { lagrangianBound } from './relaxation.ts';
export { estimateUncertainty, type Uncertainty } from './uncertainty.ts';
export { compareBaselines, randomChoices, uniformChoice, type Baseline } from './baselines.ts';
export { dropLayers } from './depth.ts';
export {
  architectureDocument,
  batchDocuments,
  budgetDocument,
  costsOf,
  layersOf,
  searchResultDocument,
  type SearchResultDocument,
} from './result-document.ts';
export { terminalPlot, type PlotPoint } from './plot/terminal-plot.ts';
export { svgPlot } from './plot/svg-plot.ts';
