/** Sums over calibration text that a block's closed form, ranking and validation need, in one pass over the chunks. */
import { blockForward, blockKey, blockOf } from '../blocks/index.ts';
import {
  namedInputs,
  remember,
  weightFeeds,
  type Execution,
  type PlacedBlock,
  type Windows,
} from '../execution/index.ts';
import {
  abs,
  add,
  constant,
  gemm,
  graph,
  input,
  mul,
  reciprocal,
  reduceMean,
  reduceSum,
  slice,
  sqrt,
  square,
  sub,
  type Graph,
  type Value,
} from '../graph/index.ts';
import type { BlockConfig, StreamConfig } from '../model/architecture.ts';
import { float32, type Tensor } from '../tensor/tensor.ts';
import type { Moments } from './least-squares.ts';
import { block, matrix, mirrorLower, type Matrix } from '../algebra/index.ts';
import { rowsOf, type StreamChunk, type StreamState } from './teacher-stream.ts';

/**
 * How much a token counts in the sums that fits are made from. `stream`: every later block sees the stream through an
 * RMSNorm, so an error counts relative to the stream after the block: w_t = 1 / mean square of it, scaled to mean 1.
 * Tokens of massive activations, which dominate a plain sum, then count little.
 */
export type TokenWeights = 'none' | 'stream';

/**
 * Products are float32 over one chunk, added up in float64 over chunks: the error stays that of one chunk (a few
 * 1e-7 of the diagonal) however long the text, far below the damping of 1e-4.
 */
type Sum =
  /** sum w h h^T of the block's features h: (features, features). */
  | 'gram'
  /** sum w y h^T with the teacher's outputs y: (hidden, features). */
  | 'cross'
  /** The same of the normalised stream in place of the features: (hidden, hidden). */
  | 'inputGram'
  | 'inputCross'
  | 'inputSum'
  /** sum w, and sum w ||y||^2. */
  | 'weight'
  /** sum |h|: (features). */
  | 'absolute'
  /** sum ||y||^2 of the teacher's outputs. */
  | 'energy'
  /** sum w ||y - block's output||^2. */
  | 'error';

/** The largest width of a panel of the Gram matrix: panels right of the diagonal are its transposes, never computed. */
const panelWidth = 512;

/** Second moments that a slot's alternatives need. */
export interface WantedMoments {
  /** Of the teacher's features. */
  readonly features: boolean;
  /** Of its outputs on its normalised inputs. */
  readonly inputs: boolean;
  readonly weights: TokenWeights;
}

export interface TeacherPass {
  readonly chunks: readonly StreamChunk[];
  readonly tokens: number;
  /** sum ||y||^2 over the teacher's outputs. */
  readonly energy: number;
  /** Mean |feature| of the teacher's block. */
  readonly meanAbsFeature: Float32Array;
  /** sum w h h^T of the teacher's features, where asked for. */
  readonly gram?: Matrix;
  /** Moments of the normalised stream, where asked for. */
  readonly inputs?: InputMoments;
}

/** Of the normalised stream, which every block reads first. */
export interface InputMoments extends Moments {
  /** sum w x (hidden). */
  readonly sum: Float64Array;
}

/** Runs the teacher's own block over its stream: what every alternative is measured against. Takes over the states. */
export async function teacherPass(
  model: Execution,
  teacher: PlacedBlock,
  states: readonly StreamState[],
  wanted: WantedMoments,
): Promise<TeacherPass> {
  const { runtime, worker, architecture } = model;
  const { hidden } = architecture.stream;
  const features = featureCount(teacher.config, architecture.stream);
  const chunks: StreamChunk[] = [];
  const absolute = new Float64Array(features);
  const gram = wanted.features ? matrix(features, features) : undefined;
  const inputs = wanted.inputs
    ? {
        gram: matrix(hidden, hidden),
        cross: matrix(hidden, hidden),
        sum: new Float64Array(hidden),
      }
    : undefined;
  const total = { energy: 0, weight: 0, weightedEnergy: 0 };
  const sums: readonly Sum[] = [
    ...(gram ? (['gram'] as const) : []),
    ...(inputs ? (['inputGram', 'inputCross', 'inputSum'] as const) : []),
    'weight',
    'absolute',
    'energy',
  ];
  const run = async ({ windows, before }: StreamState) =>
    runtime.run(
      statisticsGraph(teacher.config, architecture.stream, windows, sums, wanted.weights, true),
      { x: before, ...weightFeeds(teacher.weights) },
      { keep: ['delta'], worker },
    );
  await pipelined(states, run, (state, { delta, ...made }) => {
    chunks.push({ ...state, delta });
    for (const name of ['energy', 'weight', 'weightedEnergy'] as const) total[name] += scalar(made, name);
    addTo(absolute, made['absolute']!);
    if (gram) addGram(gram, made, 'gram');
    if (inputs) {
      addGram(inputs.gram, made, 'inputGram');
      addTo(inputs.cross.data, made['inputCross']!);
      addTo(inputs.sum, made['inputSum']!);
    }
  });
  const tokens = chunks.reduce((sum, chunk) => sum + rowsOf(chunk), 0);
  const meanOne = tokens / total.weight;
  for (const m of [gram, inputs?.gram]) if (m) mirrorLower(m);
  for (const sums of [gram?.data, inputs?.gram.data, inputs?.cross.data, inputs?.sum])
    if (sums) scale(sums, meanOne);
  return {
    chunks,
    tokens,
    energy: total.energy,
    meanAbsFeature: Float32Array.from(absolute, (sum) => sum / tokens),
    ...(gram && { gram }),
    ...(inputs && { inputs: { ...inputs, tokens, energy: total.weightedEnergy * meanOne } }),
  };
}

/** What the closed form of a block's output matrix needs: its own features against the teacher's outputs. */
export async function moments(
  model: Execution,
  student: PlacedBlock,
  { chunks, tokens }: Pick<TeacherPass, 'chunks' | 'tokens'>,
  weights: TokenWeights = 'none',
): Promise<Moments> {
  const { stream } = model.architecture;
  const features = featureCount(student.config, stream);
  const gram = matrix(features, features);
  const cross = matrix(stream.hidden, features);
  let [weight, energy] = [0, 0];
  await overChunks(model, student, chunks, ['gram', 'cross', 'weight'], weights, (sums) => {
    addGram(gram, sums, 'gram');
    addTo(cross.data, sums['cross']!);
    weight += scalar(sums, 'weight');
    energy += scalar(sums, 'weightedEnergy');
  });
  mirrorLower(gram);
  const meanOne = tokens / weight;
  scale(gram.data, meanOne);
  scale(cross.data, meanOne);
  return { tokens, gram, cross, energy: energy * meanOne };
}

function scale(sums: Float64Array, factor: number): void {
  if (factor === 1) return;
  for (let i = 0; i < sums.length; i++) sums[i]! *= factor;
}

/**
 * Normalised MSE of a block (arXiv 2411.19146, sec. 3.2): ||y - y_student||^2 / ||y||^2 summed over all tokens. A
 * block that adds nothing has exactly 1. A teacher that adds nothing allows only 0 or infinity.
 *
 * @param weights of the errors; the energy must be a sum with the same ones
 */
export async function normalisedMse(
  model: Execution,
  student: PlacedBlock,
  { chunks, energy }: Pick<TeacherPass, 'chunks' | 'energy'>,
  weights: TokenWeights = 'none',
): Promise<number> {
  let error = 0;
  await overChunks(model, student, chunks, ['error'], weights, (sums) => (error += scalar(sums, 'error')));
  return relativeError(error, energy);
}

/** sum w ||y||^2 over targets, with the weights as they are: what a weighted error is relative to. */
export async function weightedEnergy(
  model: Execution,
  student: PlacedBlock,
  chunks: readonly StreamChunk[],
  weights: TokenWeights,
): Promise<number> {
  let energy = 0;
  await overChunks(
    model,
    student,
    chunks,
    ['weight'],
    weights,
    (sums) => (energy += scalar(sums, 'weightedEnergy')),
  );
  return energy;
}

/** Error over energy; of a teacher that adds nothing, 0 or infinity. NaN stays NaN. */
export const relativeError = (error: number, energy: number): number =>
  energy > 0 ? error / energy : error > 0 ? Infinity : error;

async function overChunks(
  { runtime, worker, architecture }: Execution,
  student: PlacedBlock,
  chunks: readonly StreamChunk[],
  sums: readonly Sum[],
  weighting: TokenWeights,
  use: (sums: Readonly<Record<string, Tensor>>) => void,
): Promise<void> {
  const run = async ({ windows, before, delta }: StreamChunk) => {
    const program = statisticsGraph(student.config, architecture.stream, windows, sums, weighting, false);
    const feeds = { x: before, target: delta, ...weightFeeds(student.weights) };
    const used = Object.entries(feeds).filter(([name]) => Object.hasOwn(program.inputs, name));
    return runtime.run(program, Object.fromEntries(used), { worker });
  };
  await pipelined(chunks, run, (_, result) => use(result));
}

/** One step ahead of its consumer, so that the device works while the host adds. */
export async function pipelined<Item, Result>(
  items: readonly Item[],
  run: (item: Item) => Promise<Result>,
  use: (item: Item, result: Result) => void,
): Promise<void> {
  let ahead = items.length > 0 ? run(items[0]!) : undefined;
  for (const [index, item] of items.entries()) {
    const result = await ahead!;
    ahead = index + 1 < items.length ? run(items[index + 1]!) : undefined;
    use(item, result);
  }
}

export const featureCount = (config: BlockConfig, stream: StreamConfig): number => {
  const block = blockOf(config);
  if (block.output === undefined) throw new RangeError(`a ${config.kind} block has no features`);
  return block.weights(config, stream)[block.output]![1]!;
};

/** @param isTeacher the block's own output is the target, and is an output too */
function statisticsGraph(
  config: BlockConfig,
  stream: StreamConfig,
  { batch, tokens }: Windows,
  sums: readonly Sum[],
  weighting: TokenWeights,
  isTeacher: boolean,
): Graph {
  const key = ['statistics', blockKey(config), stream, batch, tokens, sums, weighting, isTeacher];
  return remember(key, () => {
    const { x, weights } = namedInputs(config, stream, batch * tokens);
    const made = blockForward(x, weights, { config, stream, batch, tokens });
    const target = isTeacher ? made.delta! : input('target', 'float32', x.shape); // (rows, hidden)
    const features = made.features!; // (rows, features)
    const weight = tokenWeight(add(x, target), stream.normEpsilon, weighting); // (rows, 1)
    const root = sqrt(weight);
    const weighted = (value: Value): Value => (weighting === 'none' ? value : mul(value, root));
    const cross = (value: Value): Value => gemm(weighted(target), weighted(value), { transposeA: true });
    const values: Record<Sum, () => Readonly<Record<string, Value>>> = {
      gram: () => gramPanels(weighted(features), 'gram'),
      cross: () => ({ cross: cross(features) }),
      inputGram: () => gramPanels(weighted(made.normed!), 'inputGram'),
      inputCross: () => ({ inputCross: cross(made.normed!) }),
      inputSum: () => ({ inputSum: reduceSum(mul(made.normed!, weight), { axes: [0] }) }),
      weight: () => ({
        weight: reduceSum(weight),
        weightedEnergy: reduceSum(square(weighted(target))),
      }),
      absolute: () => ({ absolute: reduceSum(abs(features), { axes: [0] }) }),
      energy: () => ({ energy: reduceSum(square(target)) }),
      error: () => ({ error: reduceSum(square(weighted(sub(target, made.delta!)))) }),
    };
    return graph({
      ...(isTeacher && { delta: target }),
      ...Object.assign({}, ...sums.map((sum) => values[sum]())),
    });
  });
}

/** (rows, 1) from the stream after the block (rows, hidden), not yet of mean 1. */
export function tokenWeight(after: Value, epsilon: number, weighting: TokenWeights): Value {
  const ones = constant(float32(new Float32Array(after.shape[0]!).fill(1), [after.shape[0]!, 1]));
  if (weighting === 'none') return ones;
  return reciprocal(add(reduceMean(square(after), { axes: [-1], keepDims: true }), epsilon));
}

/** h^T h in row panels that end at the diagonal: (panel, columns up to its end). */
function gramPanels(features: Value, name: string): Readonly<Record<string, Value>> {
  return Object.fromEntries(
    panels(features.shape[1]!).map(([start, end]) => [
      `${name}.${start}`,
      // (rows, panel)^T x (rows, end) -> (panel, end)
      gemm(slice(features, 1, start, end), slice(features, 1, 0, end), { transposeA: true }),
    ]),
  );
}

function panels(features: number): readonly (readonly [number, number])[] {
  const count = Math.ceil(features / panelWidth);
  const bound = (i: number): number => Math.round((i * features) / count);
  return Array.from({ length: count }, (_, i) => [bound(i), bound(i + 1)]);
}

/** Adds the panels to the lower part of `gram`. */
function addGram(gram: Matrix, sums: Readonly<Record<string, Tensor>>, name: string): void {
  for (const [start, end] of panels(gram.rows)) {
    const source = sums[`${name}.${start}`]!.data as Float32Array;
    const target = block(gram, start, 0, end - start, end);
    for (let i = 0; i < target.rows; i++) {
      const row = target.offset + i * target.stride;
      for (let j = 0; j < end; j++) target.data[row + j]! += source[i * end + j]!;
    }
  }
}

export function addTo(sum: Float64Array, { data }: Tensor): void {
  const values = data as Float32Array;
  for (let i = 0; i < sum.length; i++) sum[i]! += values[i]!;
}

const scalar = (sums: Readonly<Record<string, Tensor>>, name: string): number =>
  (sums[name]!.data as Float32Array)[0]!;
