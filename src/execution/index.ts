/** A model on a runtime: open it, send streams through its slots, judge them at the head. */
export { checkpointSource } from './checkpoint-source.ts';
export { closeExecution, openExecution, placeBlock, releaseBlock, withBlocks } from './execution.ts';
export type { Execution, PlacedBlock, WeightSource } from './execution.ts';
export { embed, forward, namedInputs, runBlock, weightFeeds } from './stream.ts';
export type { BlockOutput, Windows } from './stream.ts';
export { judge, nextTokenLogProbabilities, predict, releasePrediction } from './head.ts';
export type { JudgeOptions, Judgement, Prediction } from './head.ts';
export { descend, type Descent, type DescentPass } from './descent.ts';

export { remember } from './remembered.ts';
