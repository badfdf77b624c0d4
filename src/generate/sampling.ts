/** The choice of the next token from its logits. */
import { seededRandom } from '../util/random.ts';

export interface SamplingOptions {
  /** Logits are divided by it; 0 always takes the likeliest token. */
  readonly temperature: number;
  /** Only the likeliest tokens that together have this probability (nucleus sampling, arXiv 1904.09751). */
  readonly topP: number;
  readonly seed: number;
}

/** Chooses token after token; equal options choose equally. */
export function sampler({ temperature, topP, seed }: SamplingOptions): (logits: Float32Array) => number {
  if (temperature === 0) return likeliest;
  const random = seededRandom(seed);
  return (logits) => {
    const nucleus = nucleusOf(probabilities(logits, temperature), topP);
    const total = nucleus.reduce((sum, { p }) => sum + p, 0);
    let left = random.uniform() * total;
    return (nucleus.find(({ p }) => (left -= p) < 0) ?? nucleus.at(-1)!).token;
  };
}

/** The first of the largest. */
export function likeliest(logits: Float32Array): number {
  let best = 0;
  for (let token = 1; token < logits.length; token++) if (logits[token]! > logits[best]!) best = token;
  return best;
}

/** softmax(logits / temperature) */
function probabilities(logits: Float32Array, temperature: number): Float64Array {
  const most = logits[likeliest(logits)]!;
  const weights = Float64Array.from(logits, (logit) => Math.exp((logit - most) / temperature));
  const sum = weights.reduce((total, weight) => total + weight, 0);
  return weights.map((weight) => weight / sum);
}

interface Candidate {
  readonly token: number;
  readonly p: number;
}

/** The fewest tokens, likeliest first, whose probabilities reach `topP`. */
export function nucleusOf(probability: Float64Array, topP: number): readonly Candidate[] {
  // All tokens below this together have less than 1 - topP, so the nucleus lies above; few are left to sort.
  const least = (1 - topP) / probability.length;
  const candidates: Candidate[] = [];
  probability.forEach((p, token) => {
    if (p >= least && p > 0) candidates.push({ token, p });
  });
  candidates.sort((a, b) => b.p - a.p || a.token - b.token);
  let sum = 0;
  const end = candidates.findIndex(({ p }) => (sum += p) >= topP);
  return end < 0 ? candidates : candidates.slice(0, end + 1);
}
