/** How good a model is: perplexity, KL and agreement with a teacher, accuracy on minimal pairs. */
export { evaluate, type EvaluateOptions, type Evaluation } from './evaluate.ts';
export { evaluatePairs, parsePairs, type Pair, type PairsResult } from './pairs.ts';
