/** The way of the residual stream through a model: embed, then slot by slot. All of it stays on the device. */
import { blockForward, blockKey, blockOf, type Weights } from '../blocks/index.ts';
import { gather, input, mul, type Graph, type Value } from '../graph/index.ts';
import type { BlockConfig, StreamConfig } from '../model/architecture.ts';
import type { Resident } from '../runtime/index.ts';
import type { Execution, PlacedBlock } from './execution.ts';
import { remembered } from './remembered.ts';

/** Sequences of one length that run together; the stream is (batch * tokens, hidden), sequence after sequence. */
export interface Windows {
  readonly batch: number;
  /** Tokens per window. */
  readonly tokens: number;
}

/** What a block's run can yield, each (batch * tokens, ...). */
export type BlockOutput =
  /** The stream after the block. */
  | 'stream'
  /** What the block adds to the stream. */
  | 'delta'
  /** The stream after the block's norm; not of a no-op. */
  | 'normed'
  /** What enters the block's output matrix; not of a no-op. */
  | 'features';

/**
 * The stream before the first slot: (batch * tokens, hidden).
 * @param tokens ids of all windows, window after window
 */
export async function embed(model: Execution, tokens: Int32Array, windows: Windows): Promise<Resident> {
  const rows = windows.batch * windows.tokens;
  const { runtime, worker, stream, architecture } = model;
  const { stream: state } = await runtime.run(
    embedding(architecture.stream, rows),
    { table: stream.embedding, tokens: { dtype: 'int32', shape: [rows], data: tokens } },
    { keep: ['stream'], worker },
  );
  return state;
}

const embedding = ({ vocabularySize, hidden }: StreamConfig, rows: number): Graph =>
  remembered(['embedding', vocabularySize, hidden, rows], () => ({
    stream: gather(input('table', 'float32', [vocabularySize, hidden]), input('tokens', 'int32', [rows])),
  }));

/**
 * Runs one block on a stream and keeps the outputs asked for. The caller releases them, and keeps `x`.
 * @param x (batch * tokens, hidden)
 * @throws RangeError for `normed` or `features` of a block without an output matrix.
 */
export async function runBlock<const K extends BlockOutput>(
  model: Execution,
  { config, weights }: PlacedBlock,
  x: Resident,
  windows: Windows,
  outputs: readonly K[],
): Promise<Readonly<Record<K, Resident>>> {
  const program = blockGraph(config, model.architecture.stream, windows, outputs);
  return model.runtime.run(program, { x, ...weightFeeds(weights) }, { keep: outputs, worker: model.worker });
}

/** Weights and outputs of a block may share a name. */
const weightInput = (name: string): string => `weight.${name}`;

/** A block's weights by the names of `namedInputs`. */
export const weightFeeds = <T>(weights: Weights<T>): Weights<T> =>
  Object.fromEntries(Object.entries(weights).map(([name, weight]) => [weightInput(name), weight]));

/** The stream before a block (rows, hidden) and the block's weights, as inputs of a graph. */
export function namedInputs(
  config: BlockConfig,
  stream: StreamConfig,
  rows: number,
): { readonly x: Value; readonly weights: Weights<Value> } {
  const shapes = Object.entries(blockOf(config).weights(config, stream));
  return {
    x: input('x', 'float32', [rows, stream.hidden]),
    weights: Object.fromEntries(
      shapes.map(([name, shape]) => [name, input(weightInput(name), 'float32', shape)]),
    ),
  };
}

function blockGraph(
  config: BlockConfig,
  stream: StreamConfig,
  { batch, tokens }: Windows,
  outputs: readonly BlockOutput[],
): Graph {
  return remembered(['block', blockKey(config), stream, batch, tokens, outputs], () => {
    const { x, weights } = namedInputs(config, stream, batch * tokens);
    const made = blockForward(x, weights, { config, stream, batch, tokens });
    const values = made.delta === undefined ? { stream: mul(x, 1), delta: mul(x, 0) } : made; // a no-op
    return Object.fromEntries(
      outputs.map((name) => {
        const value = { ...values }[name];
        if (value === undefined) throw new RangeError(`a ${config.kind} block has no ${name}`);
        return [name, value];
      }),
    );
  });
}

/**
 * The stream after slot `to - 1`, from the stream before slot `from`. The caller releases it; `x` stays the caller's,
 * and is itself the answer when no block stands between.
 */
export async function forward(
  model: Execution,
  x: Resident,
  windows: Windows,
  { from = 0, to = model.blocks.length }: { readonly from?: number; readonly to?: number } = {},
): Promise<Resident> {
  let state = x;
  for (const block of model.blocks.slice(from, to)) {
    if (blockOf(block.config).output === undefined) continue;
    const { stream } = await runBlock(model, block, state, windows, ['stream']);
    if (state !== x) await model.runtime.release(state);
    state = stream;
  }
  return state;
}
