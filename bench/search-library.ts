/**
 * Seeded block libraries with the structure of real ones, for the search benchmarks and tests.
 *
 * How they are made. A layer's alternatives are the pairs of attention x FFN variants of a Llama-3.1 shape. Memory
 * (bf16 weights plus KV cache) and parameter counts follow from the shape, so they are the same in every layer, as they
 * are in measured libraries; the time of a pair is a roofline (weights read and multiply-adds of one prefill and the
 * decode steps), the same in every layer or, with `timeNoise`, measured per layer. Scores are a KL divergence: the
 * teacher's own pair scores 0; damage grows with what is removed, less than proportionally for attention; attention and
 * FFN damages interact; depth profile: the first and the last layers weigh more, neighbours are correlated; log-normal
 * noise makes some wider blocks score worse than narrower ones. All random numbers come from the seed.
 */

import type { Problem, Resource } from '../src/search/index.ts';
import { seededRandom } from '../src/util/random.ts';

interface Shape {
  readonly layers: number;
  readonly hidden: number;
  readonly heads: number;
  readonly headDim: number;
  readonly keyValueHeads: number;
  readonly intermediate: number;
  readonly vocabulary: number;
}

/** Published configurations. */
const llama70B: Shape = {
  layers: 80,
  hidden: 8192,
  heads: 64,
  headDim: 128,
  keyValueHeads: 8,
  intermediate: 28_672,
  vocabulary: 128_256,
};
const llama405B: Shape = {
  layers: 126,
  hidden: 16_384,
  heads: 128,
  headDim: 128,
  keyValueHeads: 8,
  intermediate: 53_248,
  vocabulary: 128_256,
};

/** Attention by KV heads, FFN by kept width; 'linear' is one square matrix, 'no-op' nothing. */
interface Menu {
  readonly attention: readonly (number | 'linear' | 'no-op')[];
  readonly ffn: readonly (number | 'linear' | 'no-op')[];
}

const menu16: Menu = { attention: [8, 2, 'linear', 'no-op'], ffn: [1, 0.5, 0.2, 'no-op'] };
/** Puzzle, arXiv 2411.19146, section 2. */
const menu54: Menu = {
  attention: [8, 4, 2, 1, 'linear', 'no-op'],
  ffn: [1, 0.87, 0.75, 0.5, 0.25, 0.2, 0.1, 'linear', 'no-op'],
};
const menu200: Menu = {
  attention: [8, 7, 6, 5, 4, 3, 2, 1, 'linear', 'no-op'],
  ffn: [...Array.from({ length: 18 }, (_, k) => 1 - k * 0.055), 'linear', 'no-op'],
};

export const libraries = {
  '80x16': { shape: llama70B, menu: menu16 },
  '80x54': { shape: llama70B, menu: menu54 },
  '126x200': { shape: llama405B, menu: menu200 },
} as const;

interface LibraryOptions {
  readonly seed: number;
  /** Relative standard deviation of per-layer time measurements; 0 if absent: one measurement per shape. */
  readonly timeNoise?: number;
  readonly batch?: number;
}

/** H100 SXM datasheet: dense bf16 TFLOP/s and HBM GB/s. */
const peakFlops = 989e12;
const bandwidth = 3.35e12;
const workload = { inputTokens: 2048, outputTokens: 2048 };

/** A problem without limits over resources memory (MiB), time (ms) and parameters. */
export function searchLibrary(size: keyof typeof libraries, options: LibraryOptions): Problem {
  const { shape, menu } = libraries[size];
  const random = seededRandom(options.seed);
  const batch = options.batch ?? 64;
  const embedding = cost(2 * shape.vocabulary * shape.hidden, 0, 0, batch);
  let neighbour = random.normal();
  const groups = Array.from({ length: shape.layers }, (_, layer) => {
    neighbour = 0.7 * neighbour + Math.sqrt(1 - 0.49) * random.normal();
    const depth = 1 + 8 * Math.exp(-layer / 1.5) + 3 * Math.exp((layer + 1 - shape.layers) / 2);
    const sensitivity = depth * Math.exp(0.35 * neighbour);
    const attentionShare = Math.exp(-0.6 + 0.5 * random.normal());
    const alternatives = menu.attention.flatMap((attention) =>
      menu.ffn.map((ffn) => {
        const { memory, time, parameters } = pairCost(shape, attention, ffn, batch);
        const a = attentionShare * attentionDamage(shape, attention) * Math.exp(0.15 * random.normal());
        const f = ffnDamage(ffn) * Math.exp(0.15 * random.normal());
        return {
          name: `attention ${attention} / ffn ${ffn}`,
          score: 0.01 * sensitivity * (a + f + 0.3 * a * f),
          uses: [memory, time * (1 + (options.timeNoise ?? 0) * random.normal()), parameters],
          tags: attention === 'no-op' ? [] : ['attention'],
        };
      }),
    );
    return { name: `layer_${layer}`, layer, alternatives };
  });
  return {
    groups,
    resources: [
      { name: 'memory', fixed: embedding.memory },
      { name: 'time', fixed: embedding.time },
      { name: 'parameters', fixed: embedding.parameters },
    ],
    objective: { sense: 'minimise', metric: 'kl_div' },
    constraints: [],
  };
}

/**
 * Upper limits on the first `budgets` resources: the totals of the best choice at random prices, all widened by the same
 * random share of up to half a percent, so that the budgets are not met exactly by that choice.
 */
export function withRandomBudgets(problem: Problem, budgets: number, seed: number): Problem {
  const random = seededRandom(seed);
  const ranges = problem.resources.map((_, r) => {
    const uses = problem.groups.map(({ alternatives }) =>
      alternatives.map((alternative) => alternative.uses[r]!),
    );
    return uses.reduce((sum, row) => sum + Math.max(...row) - Math.min(...row), 0);
  });
  const scores = problem.groups.map(({ alternatives }) => alternatives.map(({ score }) => score));
  const scoreRange = scores.reduce((sum, row) => sum + Math.max(...row) - Math.min(...row), 0);
  // Prices of about the average exchange rate of score for resource, spread over a factor of 30.
  const total = Math.exp(-2.5 + 2.5 * random.uniform());
  const prices = ranges.map((range, r) =>
    r < budgets ? (total * Math.exp(random.uniform() - 0.5) * scoreRange) / (range * budgets) : 0,
  );
  const totals = problem.resources.map((resource) => resource.fixed);
  for (const { alternatives } of problem.groups) {
    const priced = alternatives.map(({ score, uses }) =>
      uses.reduce((sum, use, r) => sum + prices[r]! * use, score),
    );
    const best = alternatives[priced.indexOf(Math.min(...priced))]!;
    best.uses.forEach((use, r) => (totals[r]! += use));
  }
  const widened = 1 + 0.005 * random.uniform();
  const resources = problem.resources.map((resource, r): Resource =>
    r < budgets ? { ...resource, upper: totals[r]! * widened } : resource,
  );
  return { ...problem, resources };
}

function pairCost(
  shape: Shape,
  attention: Menu['attention'][number],
  ffn: Menu['ffn'][number],
  batch: number,
) {
  const { hidden, heads, headDim } = shape;
  const square = hidden * hidden;
  const kvHeads = typeof attention === 'number' ? attention : 0;
  const attentionParameters =
    attention === 'no-op' ? 0 : attention === 'linear' ? square : 2 * hidden * (heads + kvHeads) * headDim;
  // Released models round widths to 256 (facts of arXiv 2411.19146).
  const width = typeof ffn === 'number' ? Math.ceil((ffn * shape.intermediate) / 256) * 256 : 0;
  const ffnParameters = ffn === 'no-op' ? 0 : ffn === 'linear' ? square : 3 * hidden * width;
  return cost(
    attentionParameters + ffnParameters,
    kvHeads * headDim,
    kvHeads === 0 ? 0 : heads * headDim,
    batch,
  );
}

/** Memory in MiB, time in ms of one prefill and all decode steps on one device, parameters in units. */
function cost(parameters: number, kvWidth: number, queryWidth: number, batch: number) {
  const { inputTokens, outputTokens } = workload;
  const tokens = inputTokens + outputTokens;
  const kvBytes = 2 * 2 * kvWidth * tokens * batch;
  const prefillFlops = 2 * batch * inputTokens * (parameters + queryWidth * inputTokens);
  const decodeSeconds = Math.max(
    (2 * parameters + kvBytes * 0.75) / bandwidth,
    (2 * batch * (parameters + 2 * queryWidth * tokens)) / peakFlops,
  );
  return {
    memory: (2 * parameters + kvBytes) / 2 ** 20,
    time: 1e3 * (prefillFlops / (0.6 * peakFlops) + outputTokens * decodeSeconds),
    parameters,
  };
}

function attentionDamage(shape: Shape, attention: Menu['attention'][number]): number {
  if (attention === 'no-op') return 1;
  if (attention === 'linear') return 0.8;
  return 0.5 * (1 - attention / shape.keyValueHeads) ** 1.3;
}

function ffnDamage(ffn: Menu['ffn'][number]): number {
  if (ffn === 'no-op') return 3;
  if (ffn === 'linear') return 2;
  return 1.6 * (1 - ffn) ** 1.5;
}
