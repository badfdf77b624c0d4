/** Sums over calibration text that a block's closed form, ranking and validation need, in one pass over the chunks. */
import { blockForward, blockKey, blockOf } from '../blocks/index.ts';
import type { Execution, PlacedBlock, Windows } from '../execution/index.ts';
import {
  abs,
  gemm,
  graph,
  input,
  reduceSum,
  slice,
  square,
  sub,
  type Graph,
  type Value,
} from '../graph/index.ts';
import type { BlockConfig, StreamConfig } from '../model/architecture.ts';
import type { Resident } from '../runtime/index.ts';
import type { Tensor } from '../tensor/tensor.ts';
import type { Moments } from './least-squares.ts';
import { block, matrix, mirrorLower, type Matrix } from '../algebra/index.ts';
import { remember } from '../execution/index.ts';
import { rowsOf, type StreamChunk, type StreamState } from './teacher-stream.ts';

/**
 * Products are float32 over one chunk, added up in float64 over chunks: the error stays that of one chunk (a few
 * 1e-7 of the diagonal) however long the text, far below the damping of 1e-4.
 */
type Sum =
  /** sum h h^T of the block's features h: (features, features). */
  | 'gram'
  /** sum y h^T with the teacher's outputs y: (hidden, features). */
  | 'cross'
  /** sum |h|: (features). */
  | 'absolute'
  /** sum ||y||^2 of the teacher's outputs. */
  | 'energy'
  /** sum ||y - block's output||^2. */
  | 'error';

/** The largest width of a panel of the Gram matrix: panels right of the diagonal are its transposes, never computed. */
const panelWidth = 512;

export interface TeacherPass {
  readonly chunks: readonly StreamChunk[];
  readonly tokens: number;
  /** sum ||y||^2 over the teacher's outputs. */
  readonly energy: number;
  /** Mean |feature| of the teacher's block. */
  readonly meanAbsFeature: Float32Array;
  /** sum h h^T of the teacher's features, where asked for. */
  readonly gram?: Matrix;
}

/** Runs the teacher's own block over its stream: what every alternative is measured against. Takes over the states. */
export async function teacherPass(
  model: Execution,
  teacher: PlacedBlock,
  states: readonly StreamState[],
  withGram: boolean,
): Promise<TeacherPass> {
  const { runtime, worker, architecture } = model;
  const features = featureCount(teacher.config, architecture.stream);
  const chunks: StreamChunk[] = [];
  const absolute = new Float64Array(features);
  const gram = withGram ? matrix(features, features) : undefined;
  let energy = 0;
  const run = async ({ windows, before }: StreamState) =>
    runtime.run(
      statisticsGraph(
        teacher.config,
        architecture.stream,
        windows,
        [...(withGram ? (['gram'] as const) : []), 'absolute', 'energy'],
        true,
      ),
      { x: before, ...feedsOf(teacher) },
      { keep: ['delta'], worker },
    );
  await pipelined(states, run, (state, { delta, ...sums }) => {
    chunks.push({ ...state, delta });
    energy += scalar(sums, 'energy');
    addTo(absolute, sums['absolute']!);
    if (gram) addGram(gram, sums);
  });
  if (gram) mirrorLower(gram);
  const tokens = chunks.reduce((sum, chunk) => sum + rowsOf(chunk), 0);
  return {
    chunks,
    tokens,
    energy,
    meanAbsFeature: Float32Array.from(absolute, (sum) => sum / tokens),
    ...(gram && { gram }),
  };
}

/** What the closed form of a block's output matrix needs: its own features against the teacher's outputs. */
export async function moments(
  model: Execution,
  student: PlacedBlock,
  { chunks, tokens, energy }: TeacherPass,
): Promise<Moments> {
  const { stream } = model.architecture;
  const features = featureCount(student.config, stream);
  const gram = matrix(features, features);
  const cross = matrix(stream.hidden, features);
  await overChunks(model, student, chunks, ['gram', 'cross'], (sums) => {
    addGram(gram, sums);
    addTo(cross.data, sums['cross']!);
  });
  mirrorLower(gram);
  return { tokens, gram, cross, energy };
}

/**
 * Normalised MSE of a block (arXiv 2411.19146, sec. 3.2): ||y - y_student||^2 / ||y||^2 summed over all tokens. A
 * block that adds nothing has exactly 1. A teacher that adds nothing allows only 0 or infinity.
 */
export async function normalisedMse(
  model: Execution,
  student: PlacedBlock,
  { chunks, energy }: Pick<TeacherPass, 'chunks' | 'energy'>,
): Promise<number> {
  let error = 0;
  await overChunks(model, student, chunks, ['error'], (sums) => (error += scalar(sums, 'error')));
  return energy > 0 ? error / energy : error > 0 ? Infinity : 0;
}

async function overChunks(
  { runtime, worker, architecture }: Execution,
  student: PlacedBlock,
  chunks: readonly StreamChunk[],
  sums: readonly Sum[],
  use: (sums: Readonly<Record<string, Tensor>>) => void,
): Promise<void> {
  const run = async ({ windows, before, delta }: StreamChunk) => {
    const program = statisticsGraph(student.config, architecture.stream, windows, sums, false);
    const feeds = { x: before, target: delta, ...feedsOf(student) };
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

export const feedsOf = ({ weights }: PlacedBlock): Record<string, Resident> =>
  Object.fromEntries(Object.entries(weights).map(([name, weight]) => [`weight.${name}`, weight]));

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
  isTeacher: boolean,
): Graph {
  return remember(['statistics', blockKey(config), stream, batch, tokens, sums, isTeacher], () => {
    const x = input('x', 'float32', [batch * tokens, stream.hidden]);
    const shapes = Object.entries(blockOf(config).weights(config, stream));
    const weights = Object.fromEntries(
      shapes.map(([name, shape]) => [name, input(`weight.${name}`, 'float32', shape)]),
    );
    const made = blockForward(x, weights, { config, stream, batch, tokens });
    const target = isTeacher ? made.delta! : input('target', 'float32', x.shape); // (rows, hidden)
    const features = made.features!; // (rows, features)
    const values: Record<Sum, () => Readonly<Record<string, Value>>> = {
      gram: () => gramPanels(features),
      cross: () => ({ cross: gemm(target, features, { transposeA: true }) }),
      absolute: () => ({ absolute: reduceSum(abs(features), { axes: [0] }) }),
      energy: () => ({ energy: reduceSum(square(target)) }),
      error: () => ({ error: reduceSum(square(sub(target, made.delta!))) }),
    };
    return graph({
      ...(isTeacher && { delta: target }),
      ...Object.assign({}, ...sums.map((sum) => values[sum]())),
    });
  });
}

/** h^T h in row panels that end at the diagonal: (panel, columns up to its end). */
function gramPanels(features: Value): Readonly<Record<string, Value>> {
  return Object.fromEntries(
    panels(features.shape[1]!).map(([start, end]) => [
      `gram.${start}`,
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
function addGram(gram: Matrix, sums: Readonly<Record<string, Tensor>>): void {
  for (const [start, end] of panels(gram.rows)) {
    const source = sums[`gram.${start}`]!.data as Float32Array;
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
