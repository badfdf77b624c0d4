/** The pipeline: from a teacher and a request to a run's folder, through a store of finished jobs. */
export { openStore, type Store } from './store.ts';
export { bundledTeacher } from '../model/index.ts';
export { openTeacher, type Teacher } from './teacher.ts';
export { outline, prepare, type Outline, type Prepared } from './prepare.ts';
export { score, scoreMethods, type ScoreMethod } from './scoring.ts';
export { requireFeasible } from './feasibility.ts';
export { distil, searchRun, type SearchOutcome, type SearchRequest } from './search-run.ts';
export { damageMetrics } from './damages.ts';
export type { TrainingBudget } from './training-plan.ts';
export type { TrainedLibrary } from './library-stage.ts';
export { runDocument, runName, writeRunFolder, type RunRecord } from './run-folder.ts';
export { studentLine } from './report.ts';
export { openHardware } from './hardware.ts';
export { profileStage } from './profile-stage.ts';
export type { WeightedText } from './texts.ts';
