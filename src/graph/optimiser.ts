/** AdamW, clipping by the global norm and the cosine schedule, as nodes: one step of training is a pure expression. */
import { add, cos, div, exp, less, minimum, mul, neg, reduceSum, sqrt, square, sub, where } from './build.ts';
import type { Value } from './value.ts';

export interface AdamConstants {
  readonly beta1: number;
  readonly beta2: number;
  readonly epsilon: number;
}

/** Scalars of the step at hand. */
export interface StepScalars {
  readonly learningRate: Value;
  readonly weightDecay: Value;
  /** Factor on every gradient, from clipping. */
  readonly gradientScale: Value;
  /** 1 in the first step. */
  readonly stepNumber: Value;
}

export interface ParameterState {
  readonly parameter: Value;
  /** Exponential mean of the gradient. */
  readonly mean: Value;
  /** Exponential mean of the squared gradient. */
  readonly square: Value;
}

/**
 * Learning rate of step number 1 .. totalSteps: linear from 0 over the warm-up, then half a cosine down to
 * `finalFraction` of the peak (Loshchilov & Hutter, arXiv 1608.03983, eq. 5 without restarts).
 */
export function cosineSchedule(
  stepNumber: Value,
  {
    peak,
    warmupSteps,
    totalSteps,
    finalFraction,
  }: { peak: Value; warmupSteps: Value; totalSteps: Value; finalFraction: Value },
): Value {
  const decaySteps = sub(totalSteps, warmupSteps);
  const progress = minimum(div(sub(stepNumber, warmupSteps), where(less(decaySteps, 1), 1, decaySteps)), 1);
  const cosine = mul(add(cos(mul(progress, Math.PI)), 1), 0.5);
  const decayed = add(finalFraction, mul(sub(1, finalFraction), cosine));
  return mul(peak, where(less(stepNumber, warmupSteps), div(stepNumber, warmupSteps), decayed));
}

/** L2 norm over all gradients together. */
export const globalNorm = (gradients: readonly Value[]): Value =>
  sqrt(gradients.map((g) => reduceSum(square(g))).reduce((a, b) => add(a, b)));

/** Factor that brings a gradient of `norm` down to `clipNorm` (Pascanu et al., arXiv 1211.5063, sec. 3.2). */
export const clipScale = (norm: Value, clipNorm: Value): Value =>
  where(less(clipNorm, norm), div(clipNorm, norm), 1);

/**
 * One step of AdamW (Loshchilov & Hutter, arXiv 1711.05101, algorithm 2) on one parameter. Bias correction moves into
 * the step size and epsilon: m / (1 - b1^t) / (sqrt(v / (1 - b2^t)) + e)
 *                          = sqrt(1 - b2^t) / (1 - b1^t) * m / (sqrt(v) + e sqrt(1 - b2^t)).
 * Matrices decay, vectors (norm weights, biases) do not.
 */
export function adamW(
  { parameter, mean, square: meanSquare }: ParameterState,
  gradient: Value,
  { learningRate, weightDecay, gradientScale, stepNumber }: StepScalars,
  { beta1, beta2, epsilon }: AdamConstants,
): ParameterState {
  const correction = (beta: number): Value => sub(1, exp(mul(stepNumber, Math.log(beta))));
  const rootCorrection = sqrt(correction(beta2));
  const stepSize = div(mul(learningRate, rootCorrection), correction(beta1));
  const nextMean = add(mul(mean, beta1), mul(gradient, mul(gradientScale, 1 - beta1)));
  const nextSquare = add(
    mul(meanSquare, beta2),
    mul(square(gradient), mul(square(gradientScale), 1 - beta2)),
  );
  const direction = div(nextMean, add(sqrt(nextSquare), mul(rootCorrection, epsilon)));
  const decayed =
    parameter.shape.length < 2 ? parameter : mul(parameter, sub(1, mul(learningRate, weightDecay)));
  return { parameter: add(decayed, mul(direction, neg(stepSize))), mean: nextMean, square: nextSquare };
}
