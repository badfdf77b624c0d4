/** How good a model is: perplexity, KL and agreement with a teacher, accuracy on minimal pairs and multiple choice. */
export { evaluateChoices, parseChoices, type ChoicesResult, type Question } from './choices.ts';
export {
  evaluate,
  predictText,
  releaseTextPredictions,
  type EvaluateOptions,
  type Evaluation,
  type TextPredictions,
} from './evaluate.ts';
export { evaluatePairs, parsePairs, type Pair, type PairsResult } from './pairs.ts';
