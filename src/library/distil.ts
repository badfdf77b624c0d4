/** Blockwise local distillation (BLD, arXiv 2411.19146, sec. 3.2): one block trained on the teacher's activations. */
import { blockForward, blockKey, blockOf, type Weights } from '../blocks/index.ts';
import { placeBlock, releaseBlock, type Execution, type PlacedBlock } from '../execution/index.ts';
import {
  add,
  graph,
  input,
  mul,
  reduceSum,
  reshape,
  square,
  stopGradient,
  sub,
  trainingLoop,
  type Graph,
  type TrainingScalars,
} from '../graph/index.ts';
import type { BlockConfig, StreamConfig } from '../model/architecture.ts';
import type { Resident } from '../runtime/index.ts';
import { float32, type Tensor } from '../tensor/tensor.ts';
import { seededRandom } from '../util/random.ts';
import { remember } from '../execution/index.ts';
import { normalisedMse, tokenWeight, type TeacherPass, type TokenWeights } from './statistics.ts';
import { rowsOf, type StreamChunk } from './teacher-stream.ts';

export interface DistilOptions {
  /** Optimiser steps; 0 leaves the block as it is. */
  readonly steps: number;
  /** Tokens per step, rounded down to whole windows. */
  readonly stepTokens: number;
  /** Peak learning rate of AdamW. */
  readonly learningRate: number;
  readonly weightDecay: number;
  readonly warmupSteps: number;
  /** Validations on the way, evenly spread; the best weights are kept. */
  readonly validations: number;
  readonly seed: number;
  /** How much a token counts in losses; the passes' energies must be sums with the same weights. None by default. */
  readonly tokenWeights?: TokenWeights;
}

export interface Distilled {
  readonly weights: Weights<Tensor<'float32'>>;
  /** Validation loss of these weights. */
  readonly loss: number;
  /** The step they are from. */
  readonly step: number;
  readonly trainingLosses: Float32Array;
}

/** The largest norm a gradient keeps, as in the public runs after the paper. */
const clipNorm = 1;

/**
 * Trains all weights of a block from where it stands. Undefined when no validation on the way beat `startLoss`.
 *
 * @param calibration what it trains on, chunk by chunk in random order
 * @param validation what decides
 */
export async function distil(
  model: Execution,
  config: BlockConfig,
  start: Weights<Tensor<'float32'>>,
  startLoss: number,
  calibration: Pick<TeacherPass, 'chunks' | 'tokens' | 'energy'>,
  validation: Pick<TeacherPass, 'chunks' | 'energy'>,
  options: DistilOptions,
): Promise<Distilled | undefined> {
  const { runtime, worker, architecture } = model;
  const shape = loopShape(calibration.chunks, options.stepTokens);
  const calls = Math.ceil(options.steps / shape.steps);
  if (calls === 0 || calibration.energy === 0) return undefined;
  const { tokenWeights = 'none' } = options;
  const loop = trainingGraph(config, architecture.stream, shape, tokenWeights);
  const scalars: Omit<TrainingScalars, 'step'> = {
    learningRate: options.learningRate,
    warmupSteps: options.warmupSteps,
    totalSteps: calls * shape.steps,
    finalFraction: 0,
    weightDecay: options.weightDecay,
    clipNorm,
  };
  const fixed = {
    ...Object.fromEntries(Object.entries(scalars).map(([name, value]) => [name, scalar(value)])),
    // Mean energy of one step's batch: losses are normalised MSE, and their sum is the whole text's.
    'constant.scale': scalar(calibration.tokens / (calibration.energy * shape.rows)),
  };

  const names = Object.keys(start);
  const held = new Set<Resident>(); // all that is ours on the device
  const keep = async <R extends Resident>(resident: Promise<R>): Promise<R> => {
    const kept = await resident;
    held.add(kept);
    return kept;
  };
  const free = async (residents: readonly Resident[]): Promise<void> => {
    residents.forEach((resident) => held.delete(resident));
    await runtime.release(...residents);
  };
  try {
    let state: Record<string, Resident> = {};
    for (const name of names) {
      const { data, shape: extents } = start[name]!;
      state[`parameter.${name}`] = await keep(runtime.upload(float32(data.slice(), extents), worker));
      state[`mean.${name}`] = await keep(
        runtime.upload(float32(new Float32Array(data.length), extents), worker),
      );
      state[`square.${name}`] = await keep(
        runtime.upload(float32(new Float32Array(data.length), extents), worker),
      );
    }
    state['step'] = await keep(runtime.upload(scalar(0), worker));

    const placed = (): PlacedBlock => ({
      config,
      weights: Object.fromEntries(names.map((name) => [name, state[`parameter.${name}`]!])),
    });
    const random = seededRandom(options.seed);
    const full = calibration.chunks.filter((chunk) => rowsOf(chunk) === rowsOf(calibration.chunks[0]!));
    let order: StreamChunk[] = [];
    const losses: number[] = [];
    let best: { loss: number; step: number; weights: Weights<Tensor<'float32'>> } | undefined;
    for (let call = 1; call <= calls; call++) {
      if (order.length === 0) order = random.shuffle(full);
      const { before, delta } = order.pop()!;
      const data = await runtime.run(
        stackGraph(before.shape, shape),
        { before, delta },
        { keep: ['data.x', 'data.y'], worker },
      );
      const keys = Object.keys(state).map((name) => `next.${name}`);
      const result = await runtime.run(loop, { ...state, ...data, ...fixed }, { keep: keys, worker });
      losses.push(...(result['losses'] as unknown as Tensor<'float32'>).data);
      const next = result as unknown as Record<string, Resident>;
      keys.forEach((key) => held.add(next[key]!));
      await free(Object.values(state));
      await runtime.release(data['data.x'], data['data.y']);
      state = Object.fromEntries(keys.map((key) => [key.slice('next.'.length), next[key]!]));
      const due = Math.floor((call * options.validations) / calls);
      if (due > Math.floor(((call - 1) * options.validations) / calls)) {
        const loss = await normalisedMse(model, placed(), validation, tokenWeights);
        // A diverged run has loss NaN or infinity: never less than the best.
        if (loss < (best?.loss ?? startLoss))
          best = { loss, step: call * shape.steps, weights: await downloadBlock(model, placed()) };
      }
    }
    return best && { ...best, trainingLosses: Float32Array.from(losses) };
  } finally {
    await free([...held]);
  }
}

/** Normalised MSE of a block that is not on the device yet. */
export async function lossOf(
  model: Execution,
  config: BlockConfig,
  weights: Weights<Tensor<'float32'>>,
  validation: TeacherPass,
): Promise<number> {
  const placed = await placeBlock(model, config, copies(weights));
  try {
    return await normalisedMse(model, placed, validation);
  } finally {
    await releaseBlock(model, placed);
  }
}

/** Weights to upload: uploading takes the buffers. */
export const copies = (weights: Weights<Tensor<'float32'>>): Weights<Tensor<'float32'>> =>
  Object.fromEntries(
    Object.entries(weights).map(([name, { data, shape }]) => [name, float32(data.slice(), shape)]),
  );

/** A copy of a block's weights on the host. */
export async function downloadBlock(
  { runtime }: Execution,
  { weights }: PlacedBlock,
): Promise<Weights<Tensor<'float32'>>> {
  const entries = Object.entries(weights).map(
    async ([name, resident]) => [name, (await runtime.download(resident)) as Tensor<'float32'>] as const,
  );
  return Object.fromEntries(await Promise.all(entries));
}

/** One call of the training loop: `steps` steps of `batch` windows, together one chunk. */
interface LoopShape {
  readonly steps: number;
  readonly batch: number;
  readonly tokens: number;
  readonly rows: number;
}

function loopShape(chunks: readonly StreamChunk[], stepTokens: number): LoopShape {
  const { batch: chunkBatch, tokens } = chunks[0]!.windows;
  const wanted = Math.min(chunkBatch, Math.max(1, Math.floor(stepTokens / tokens)));
  const batch = Math.max(...divisors(chunkBatch).filter((divisor) => divisor <= wanted));
  return { steps: chunkBatch / batch, batch, tokens, rows: batch * tokens };
}

const divisors = (n: number): number[] =>
  Array.from({ length: n }, (_, i) => i + 1).filter((divisor) => n % divisor === 0);

const scalar = (value: number): Tensor<'float32'> => float32(Float32Array.of(value), []);

const stackGraph = (shape: readonly number[], { steps, rows }: LoopShape): Graph =>
  remember(['stack', shape, steps, rows], () => {
    const stacked = [steps, rows, shape[1]!];
    return graph({
      'data.x': reshape(input('before', 'float32', shape), stacked),
      'data.y': reshape(input('delta', 'float32', shape), stacked),
    });
  });

const trainingGraph = (
  config: BlockConfig,
  stream: StreamConfig,
  { steps, batch, tokens, rows }: LoopShape,
  weighting: TokenWeights,
): Graph =>
  remember(['distil', blockKey(config), stream, steps, batch, tokens, weighting], () =>
    trainingLoop({
      parameters: blockOf(config).weights(config, stream),
      data: {
        x: { dtype: 'float32', shape: [rows, stream.hidden] },
        y: { dtype: 'float32', shape: [rows, stream.hidden] },
      },
      constants: { scale: { dtype: 'float32', shape: [] } },
      steps,
      loss: (weights, { x, y }, { scale }) => {
        const { delta } = blockForward(x!, weights, { config, stream, batch, tokens });
        const squares = square(sub(delta!, y!)); // (rows, hidden)
        if (weighting === 'none') return mul(reduceSum(squares), scale!);
        const weight = tokenWeight(add(x!, y!), stream.normEpsilon, weighting); // (rows, 1)
        return mul(reduceSum(mul(squares, stopGradient(weight))), scale!);
      },
    }),
  );
