/** How sure a solution is, from the samples behind its scores: interval, stability of every choice, samples needed. */
import { meanInterval, type Interval } from '../util/interval.ts';
import { seededRandom, type Random } from '../util/random.ts';
import { runnerUp, worsening, type Progress } from './explain.ts';
import type { Choice, Problem, Solution, SolveOptions } from './problem.ts';
import { solve } from './solve.ts';

export interface Uncertainty {
  readonly samples: number;
  /** 95 % confidence, Student's t over samples. */
  readonly score: Interval;
  /** Per group. */
  readonly choices: readonly Stability[];
  /** Samples after which every coin toss that samples can settle is settled; the present number when none is left. */
  readonly samplesToSettle: number;
}

export interface Stability {
  readonly group: number;
  /** Share of bootstrap resamples whose proven optimum has each alternative. */
  readonly frequencies: readonly number[];
  /** Another sample of the same size may well have decided otherwise. */
  readonly coinToss: boolean;
  /** For a coin toss against its runner-up: samples in all that would settle it; undefined for an exact tie. */
  readonly samplesToSettle?: number;
}

interface UncertaintyOptions extends SolveOptions {
  /** 200 if absent. */
  readonly resamples?: number;
  readonly seed?: number;
}

/** A choice that fewer resamples than this confirm is called a coin toss. */
const steadyShare = 0.75;
/** Two-sided 95 % of the normal distribution. */
const z95 = 1.959964;

/**
 * @param samples per group and alternative the score of each held-out sample; their means may differ from the
 *   problem's scores by a constant (scores corrected later), resampling shifts the scores by its deviation.
 */
export async function estimateUncertainty(
  problem: Problem,
  samples: readonly (readonly Float64Array[])[],
  solution: Solution,
  { resamples = 200, seed = 0, ...options }: UncertaintyOptions = {},
  progress: Progress = () => {},
): Promise<Uncertainty> {
  const count = samples[0]![0]!.length;
  const random = seededRandom(seed);
  const tallies = problem.groups.map(({ alternatives }) => new Float64Array(alternatives.length));
  for (let r = 0; r < resamples; r++) {
    const weights = resampleWeights(count, random);
    const { choice } = await solve(reweighted(problem, samples, weights), {
      ...options,
      warmStart: solution.choice,
    });
    choice.forEach((alternative, g) => tallies[g]![alternative]!++);
    progress(r + 1, resamples);
  }
  const choices: Stability[] = [];
  for (const [group, tally] of tallies.entries()) {
    const frequencies = [...tally].map((times) => times / resamples);
    const coinToss = frequencies[solution.choice[group]!]! < steadyShare;
    const needed = coinToss ? await samplesToSettle(problem, samples, solution, group, options) : undefined;
    choices.push({ group, frequencies, coinToss, ...(needed !== undefined && { samplesToSettle: needed }) });
  }
  return {
    samples: count,
    score: interval(solution.value, sumOver(samples, solution.choice)),
    choices,
    samplesToSettle: choices.reduce((most, choice) => Math.max(most, choice.samplesToSettle ?? 0), count),
  };
}

/** How often a resample of the same size draws each sample, minus the once of the original, over the size. */
function resampleWeights(count: number, random: Random): Float64Array {
  const weights = new Float64Array(count).fill(-1 / count);
  for (let i = 0; i < count; i++) weights[random.integer(count)]! += 1 / count;
  return weights;
}

function reweighted(
  problem: Problem,
  samples: readonly (readonly Float64Array[])[],
  weights: Float64Array,
): Problem {
  return {
    ...problem,
    groups: problem.groups.map((group, g) => ({
      ...group,
      alternatives: group.alternatives.map((alternative, a) => ({
        ...alternative,
        score: alternative.score + dot(weights, samples[g]![a]!),
      })),
    })),
  };
}

function dot(a: Float64Array, b: Float64Array): number {
  let sum = 0;
  for (let i = 0; i < a.length; i++) sum += a[i]! * b[i]!;
  return sum;
}

/**
 * Paired against the best architecture without the choice: with mean difference d and deviation s per sample, the
 * sign is settled at 95 % from n = (1.96 s / d)^2 samples on.
 */
async function samplesToSettle(
  problem: Problem,
  samples: readonly (readonly Float64Array[])[],
  solution: Solution,
  group: number,
  options: SolveOptions,
): Promise<number | undefined> {
  const { runnerUp: other } = await runnerUp(problem, solution, group, options);
  if (other === undefined) return undefined;
  const chosen = sumOver(samples, solution.choice);
  const rival = sumOver(samples, other.choice);
  const difference = rival.map((value, i) => worsening(problem, chosen[i]!, value));
  const { mean, deviation } = moments(difference);
  return mean === 0 ? undefined : Math.ceil(((z95 * deviation) / mean) ** 2);
}

/** Per sample the score of a whole choice. */
function sumOver(samples: readonly (readonly Float64Array[])[], choice: Choice): Float64Array {
  const sum = new Float64Array(samples[0]![0]!.length);
  choice.forEach((alternative, g) => samples[g]![alternative]!.forEach((value, i) => (sum[i]! += value)));
  return sum;
}

function moments(values: Float64Array): { readonly mean: number; readonly deviation: number } {
  const mean = values.reduce((sum, value) => sum + value, 0) / values.length;
  const squares = values.reduce((sum, value) => sum + (value - mean) ** 2, 0);
  return { mean, deviation: values.length > 1 ? Math.sqrt(squares / (values.length - 1)) : Infinity };
}

/** The interval of the samples' mean, moved to `value`. */
function interval(value: number, perSample: Float64Array): Interval {
  const { value: mean, low, high } = meanInterval(perSample);
  return { value, low: value + low - mean, high: value + high - mean };
}
