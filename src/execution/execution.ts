/** A model on a runtime: its weights resident in one worker, students as views that share them. */
import { blockOf, type Weights } from '../blocks/index.ts';
import type { Architecture, BlockConfig, StreamConfig } from '../model/architecture.ts';
import type { Resident, Runtime } from '../runtime/index.ts';
import type { Shape, Tensor } from '../tensor/tensor.ts';

/** Where a model's weights come from, one block at a time: a checkpoint, a store of trained blocks, memory. */
export interface WeightSource {
  readonly architecture: Architecture;
  /** `head` is not asked for where embeddings are tied. */
  streamWeight(name: 'embedding' | 'norm' | 'head'): Promise<Tensor<'float32'>>;
  /** Weights of the block in a slot, by the block's own names; the caller may detach them. */
  blockWeights(slot: number): Promise<Weights<Tensor<'float32'>>>;
}

/** A block whose weights are resident. */
export interface PlacedBlock {
  readonly config: BlockConfig;
  readonly weights: Weights<Resident>;
}

/** An opened model. Plain data: a student is a copy of it with other blocks. */
export interface Execution {
  readonly runtime: Runtime;
  /** The worker that holds every weight. */
  readonly worker: number;
  readonly architecture: Architecture;
  readonly stream: StreamResidents;
  readonly blocks: readonly PlacedBlock[];
}

interface StreamResidents {
  readonly embedding: Resident; // (vocabulary, hidden)
  readonly norm: Resident; // (hidden)
  readonly head: Resident; // (vocabulary, hidden); the embedding itself where tied
}

export interface OpenOptions {
  readonly worker?: number;
  /** Called after each slot is placed. */
  readonly onSlot?: (done: number) => void;
}

/**
 * Places a model's weights, one tensor at a time: the host holds at most one block beside the resident copy.
 * Release it with `closeExecution`.
 * @throws PuzzleError of the weight source; nothing stays resident then.
 */
export async function openExecution(
  source: WeightSource,
  runtime: Runtime,
  { worker = 0, onSlot }: OpenOptions = {},
): Promise<Execution> {
  const { architecture } = source;
  const placed: Resident[] = [];
  const place = async (tensor: Tensor<'float32'>): Promise<Resident> => {
    const resident = await runtime.upload(tensor, worker);
    placed.push(resident);
    return resident;
  };
  try {
    const embedding = await place(await source.streamWeight('embedding'));
    const norm = await place(await source.streamWeight('norm'));
    const head = architecture.stream.tiedEmbeddings
      ? embedding
      : await place(await source.streamWeight('head'));
    const blocks: PlacedBlock[] = [];
    for (const [slot, { block }] of architecture.slots.entries()) {
      const weights = await source.blockWeights(slot);
      requireShapes(block, weights, architecture.stream);
      blocks.push({ config: block, weights: await mapWeights(weights, place) });
      onSlot?.(slot + 1);
    }
    return { runtime, worker, architecture, stream: { embedding, norm, head }, blocks };
  } catch (error) {
    await runtime.release(...placed);
    throw error;
  }
}

/** Frees an opened model. Not for students: their blocks are released by whoever placed them. */
export async function closeExecution({ runtime, stream, blocks }: Execution): Promise<void> {
  const residents = [...Object.values(stream), ...blocks.flatMap(({ weights }) => Object.values(weights))];
  await runtime.release(...new Set(residents as Resident[]));
}

/** Makes a block's weights resident beside a model's; their buffers are detached. Release it with `releaseBlock`. */
export async function placeBlock(
  { runtime, worker, architecture }: Execution,
  config: BlockConfig,
  weights: Weights<Tensor<'float32'>>,
): Promise<PlacedBlock> {
  requireShapes(config, weights, architecture.stream);
  return { config, weights: await mapWeights(weights, async (tensor) => runtime.upload(tensor, worker)) };
}

export const releaseBlock = async ({ runtime }: Execution, { weights }: PlacedBlock): Promise<void> =>
  runtime.release(...Object.values(weights));

/** A student: the model with other blocks in some slots. Nothing is copied; the model must outlive it. */
export function withBlocks(model: Execution, replaced: ReadonlyMap<number, PlacedBlock>): Execution {
  const { stream, slots } = model.architecture;
  return {
    ...model,
    architecture: {
      stream,
      slots: slots.map((slot, index) => ({ ...slot, block: replaced.get(index)?.config ?? slot.block })),
    },
    blocks: model.blocks.map((block, index) => replaced.get(index) ?? block),
  };
}

async function mapWeights<A, B>(weights: Weights<A>, map: (weight: A) => Promise<B>): Promise<Weights<B>> {
  const mapped: Record<string, B> = {};
  for (const [name, weight] of Object.entries(weights)) mapped[name] = await map(weight);
  return mapped;
}

/** @throws RangeError where weights are missing, unknown or of a wrong shape: whoever made them has a bug. */
function requireShapes(config: BlockConfig, weights: Weights<Tensor>, stream: StreamConfig): void {
  const wanted = describe(blockOf(config).weights(config, stream));
  const given = describe(
    Object.fromEntries(Object.entries(weights).map(([name, { shape }]) => [name, shape])),
  );
  if (wanted !== given) throw new RangeError(`a ${config.kind} block needs ${wanted}, not ${given}`);
}

const describe = (shapes: Weights<Shape>): string =>
  Object.entries(shapes)
    .map(([name, shape]) => `${name} [${shape.join(', ')}]`)
    .sort()
    .join(', ') || 'no weights';
