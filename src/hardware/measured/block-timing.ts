/** Times one block on this machine, inside a loop on the device: the difference of two lengths leaves out all else. */
import { blockDecode, blockForward, blockOf, rmsNorm } from '../../blocks/index.ts';
import { add, gemm, graph, input, loop, mul, slice, type Graph, type Value } from '../../graph/index.ts';
import type { BlockConfig, StreamConfig } from '../../model/index.ts';
import type { Resident, Runtime } from '../../runtime/index.ts';
import { elementCount, float32, type Shape } from '../../tensor/tensor.ts';
import { seededRandom } from '../../util/random.ts';

/** What is timed: a block, or the model's final norm and head on one row per sequence. */
export type Timed =
  | {
      readonly part: 'block';
      readonly phase: 'prefill';
      readonly config: BlockConfig;
      readonly batch: number;
      readonly tokens: number;
    }
  | {
      readonly part: 'block';
      readonly phase: 'decode';
      readonly config: BlockConfig;
      readonly batch: number;
      readonly length: number;
    }
  | { readonly part: 'head'; readonly batch: number };

/** Milliseconds of one pass; low and high hold nine of ten repeats. */
export interface Timing {
  readonly medianMs: number;
  readonly lowMs: number;
  readonly highMs: number;
  readonly repeats: number;
}

/** A repeat lasts at least this long, so that the clock and the scheduler matter little. */
const leastRepeatMs = 40;
/** Repeats end when the interval of the median is this narrow, or at the limit. */
const wantedSpread = 0.03;
const [fewestRepeats, mostRepeats] = [5, 15];
/** Iterations of the shorter loop. */
const shortLoop = 1;

/** Times a part with random weights: kernels take the same time whatever the numbers. */
export async function timePart(timed: Timed, stream: StreamConfig, runtime: Runtime): Promise<Timing> {
  const feeds = await uploadInputs(partInputs(timed, stream), runtime);
  try {
    const run = async (program: Graph): Promise<number> => {
      const start = performance.now();
      await runtime.release((await runtime.run(program, feeds, { keep: ['after'] })).after);
      return performance.now() - start;
    };
    const short = loopGraph(timed, stream, shortLoop);
    await run(short); // compiles
    const roughMs = Math.max(1e-3, Math.min(await run(short), await run(short)));
    const steps = shortLoop + Math.max(1, Math.ceil(leastRepeatMs / roughMs));
    const long = loopGraph(timed, stream, steps);
    await run(long);
    const samples: number[] = [];
    while (samples.length < mostRepeats) {
      const base = await run(short);
      samples.push(Math.max(0, (await run(long)) - base) / (steps - shortLoop));
      if (samples.length >= fewestRepeats && spreadOfMedian(samples) < wantedSpread) break;
    }
    return summary(samples);
  } finally {
    await runtime.release(...Object.values(feeds));
  }
}

function summary(samples: readonly number[]): Timing {
  const sorted = samples.toSorted((a, b) => a - b);
  const quantile = (share: number): number => sorted[Math.round(share * (sorted.length - 1))]!;
  return { medianMs: quantile(0.5), lowMs: quantile(0.05), highMs: quantile(0.95), repeats: samples.length };
}

/** Relative half width of the median's interval: its standard error is about 1.25 standard deviations over sqrt(n). */
function spreadOfMedian(samples: readonly number[]): number {
  const { medianMs } = summary(samples);
  const deviations = samples.map((sample) => Math.abs(sample - medianMs)).toSorted((a, b) => a - b);
  // The median absolute deviation times 1.4826 estimates the standard deviation without the outliers.
  const deviation = 1.4826 * deviations[Math.floor(deviations.length / 2)]!;
  return (1.25 * deviation) / Math.sqrt(samples.length) / Math.max(medianMs, 1e-9);
}

function partInputs(timed: Timed, stream: StreamConfig): Readonly<Record<string, Shape>> {
  const { hidden, vocabularySize } = stream;
  if (timed.part === 'head') {
    return { x: [timed.batch, hidden], norm: [hidden], head: [vocabularySize, hidden] };
  }
  const block = blockOf(timed.config);
  const weights = Object.entries(block.weights(timed.config, stream)).map(([name, shape]) => [
    `weight.${name}`,
    shape,
  ]);
  const cache =
    timed.phase === 'decode' ? block.cacheShapes?.(timed.config, timed.batch, timed.length) : undefined;
  const rows = timed.phase === 'prefill' ? timed.batch * timed.tokens : timed.batch;
  return { x: [rows, hidden], ...Object.fromEntries(weights), ...cache };
}

async function uploadInputs(
  shapes: Readonly<Record<string, Shape>>,
  runtime: Runtime,
): Promise<Readonly<Record<string, Resident>>> {
  const random = seededRandom(1);
  const feeds: Record<string, Resident> = {};
  for (const [name, shape] of Object.entries(shapes)) {
    // Small, so that a stream that passes the block many times stays finite.
    const data = Float32Array.from({ length: elementCount(shape) }, () => 0.02 * (random.uniform() - 0.5));
    feeds[name] = await runtime.upload(float32(data, shape));
  }
  return feeds;
}

function loopGraph(timed: Timed, stream: StreamConfig, steps: number): Graph {
  const inputs = Object.fromEntries(
    Object.entries(partInputs(timed, stream)).map(([name, shape]) => [name, input(name, 'float32', shape)]),
  );
  const { state } = loop(steps, { x: inputs.x! }, (_, { x }) => ({
    state: { x: onePass(timed, stream, x, inputs) },
    collected: {},
  }));
  return graph({ after: state.x });
}

function onePass(
  timed: Timed,
  stream: StreamConfig,
  x: Value,
  inputs: Readonly<Record<string, Value>>,
): Value {
  if (timed.part === 'head') {
    const logits = gemm(rmsNorm(x, inputs.norm!, stream.normEpsilon), inputs.head!, { transposeB: true });
    // The next pass must wait for this one: a trace of its logits goes on.
    return add(x, mul(slice(logits, 1, 0, 1), 1e-6));
  }
  const { config, batch } = timed;
  const names = Object.keys(blockOf(config).weights(config, stream));
  const weights = Object.fromEntries(names.map((name) => [name, inputs[`weight.${name}`]!]));
  if (timed.phase === 'prefill')
    return blockForward(x, weights, { config, stream, batch, tokens: timed.tokens }).stream;
  const { keys, values } = inputs;
  const cache = keys && values && { keys, values };
  return blockDecode(x, weights, cache, { config, stream, batch, length: timed.length });
}
