/** A model on disk: architecture, weights read one at a time, tokenizer. Every format becomes one of these. */
import { elementCount, type StoredTensor, type Tensor, type TensorFile } from '../tensor/index.ts';
import { PuzzleError } from '../util/errors.ts';
import type { Architecture, Slot } from './architecture.ts';
import type { Tokenizer } from './tokenizer.ts';
import {
  layerShapes,
  slotWeightName,
  streamShapes,
  streamWeightNames,
  teacherShapes,
  type Naming,
  type StreamWeight,
} from './weight-names.ts';

type Float = Tensor<'float32'>;

/** Weights of one slot by their names in the block. */
export type SlotWeights<T> = Readonly<Record<string, T>>;

/** An open model. Whoever opens it closes it. Every load reads from disk again: keep what you need. */
export interface Checkpoint {
  readonly path: string;
  readonly architecture: Architecture;
  /** Hash of the content of its files; the same wherever they lie. */
  readonly identity: string;
  /** A slot's weights, unread; matrices are (out, in). */
  slot(index: number): SlotWeights<StoredTensor>;
  /** The weights that belong to no slot, unread; no head where it is the embedding. */
  readonly stream: Readonly<Partial<Record<StreamWeight, StoredTensor>>>;
  /** Loads a slot's weights. */
  slotWeights(index: number): Promise<SlotWeights<Float>>;
  /** (vocabulary, hidden) */
  embedding(): Promise<Float>;
  /** (hidden) */
  finalNorm(): Promise<Float>;
  /** (vocabulary, hidden); the embedding where they are tied. */
  head(): Promise<Float>;
  /** Throws `tokenizer-mismatch` where it has ids beyond the vocabulary. */
  tokenizer(): Promise<Tokenizer>;
  close(): Promise<void>;
}

/** What a format gives. */
export interface CheckpointParts {
  readonly path: string;
  readonly architecture: Architecture;
  readonly identity: string;
  readonly file: TensorFile;
  readonly naming: Naming;
  /** Names of tensors that may be left unread. */
  readonly ignored?: RegExp;
  /** What a weight needs to become what our blocks mean by its name. */
  readonly adapt?: (tensor: Float, slot: Slot, weight: string) => Float;
  readonly openTokenizer: () => Promise<Tokenizer>;
}

/**
 * Finds every weight of the architecture in the file, and nothing else in it.
 * Throws `weights-missing`, `weights-shape`, or `unsupported-model` for a tensor that nothing reads.
 */
export function createCheckpoint(parts: CheckpointParts): Checkpoint {
  const { architecture, file } = parts;
  const stream = streamWeights(parts);
  const slots = architecture.slots.map((_, index) => slotWeights(parts, index));
  refuseUnread(parts, [...Object.values(stream), ...slots.flatMap((weights) => Object.values(weights))]);
  let tokenizer: Promise<Tokenizer> | undefined;
  return {
    path: parts.path,
    architecture,
    identity: parts.identity,
    stream,
    slot: (index) => slots[index]!,
    slotWeights: (index) => loadAll(slots[index]!),
    embedding: () => stream.embedding!.load(),
    finalNorm: () => stream.norm!.load(),
    head: () => (stream.head ?? stream.embedding!).load(),
    tokenizer: () => (tokenizer ??= openMatchingTokenizer(parts)),
    close: () => file.close(),
  };
}

/** Loads tensors one after the other. */
async function loadAll(weights: SlotWeights<StoredTensor>): Promise<SlotWeights<Float>> {
  const loaded: Record<string, Float> = {};
  for (const [name, tensor] of Object.entries(weights)) loaded[name] = await tensor.load();
  return loaded;
}

function streamWeights({ architecture, file, naming, path }: CheckpointParts): Checkpoint['stream'] {
  const names = streamWeightNames[naming];
  const shapes = Object.entries(streamShapes(architecture.stream)) as [StreamWeight, readonly number[]][];
  return Object.fromEntries(
    shapes.map(([weight, shape]) => [weight, find(file, path, names[weight], shape)]),
  );
}

function slotWeights(parts: CheckpointParts, index: number): SlotWeights<StoredTensor> {
  const { architecture, file, naming, path, adapt } = parts;
  const slot = architecture.slots[index]!;
  const shapes =
    naming === 'own'
      ? teacherShapes(slot.block, architecture.stream)
      : layerShapes(slot.block, architecture.stream, path);
  if (shapes === undefined) return ownWeights(file, index);
  return Object.fromEntries(
    Object.entries(shapes).map(([weight, shape]) => {
      const stored = find(file, path, slotWeightName(naming, index, slot, weight), shape);
      const load = async (): Promise<Float> => adapt!(await stored.load(), slot, weight);
      return [weight, adapt === undefined ? stored : { ...stored, load }];
    }),
  );
}

/** All weights of a slot by the prefix of our own naming; what they must be, their block knows. */
function ownWeights(file: TensorFile, index: number): SlotWeights<StoredTensor> {
  const prefix = `slots.${index}.`;
  const mine = Array.from(file.tensors).filter(([name]) => name.startsWith(prefix));
  return Object.fromEntries(mine.map(([name, tensor]) => [name.slice(prefix.length), tensor]));
}

function find(file: TensorFile, path: string, name: string, shape: readonly number[]): StoredTensor {
  const tensor = file.tensors.get(name);
  const at = `${path}: ${name}`;
  if (tensor === undefined) {
    throw new PuzzleError('weights-missing', `${path} holds no ${name}.`, {
      at,
      fix: 'Download or convert the model again.',
    });
  }
  if (tensor.shape.join() !== shape.join()) {
    throw new PuzzleError(
      'weights-shape',
      `${at} has shape [${tensor.shape.join(', ')}] where its config means [${shape.join(', ')}].`,
      {
        at,
        value: tensor.shape,
        fix: 'Use the config that belongs to these weights.',
        details: { expected: shape },
      },
    );
  }
  return tensor;
}

/** A tensor that nothing reads means that the model computes something we do not. */
function refuseUnread({ file, path, ignored }: CheckpointParts, read: readonly StoredTensor[]): void {
  const names = new Set(read.map(({ name }) => name));
  for (const [name, { shape }] of file.tensors) {
    if (names.has(name) || ignored?.test(name) === true || elementCount(shape) === 0) continue;
    throw new PuzzleError('unsupported-model', `${path}: nothing in the model's family reads ${name}.`, {
      at: `${path}: ${name}`,
      fix: 'Use a plain model of a supported family, without adapters or extra heads.',
    });
  }
}

async function openMatchingTokenizer({
  architecture,
  openTokenizer,
  path,
}: CheckpointParts): Promise<Tokenizer> {
  const tokenizer = await openTokenizer();
  const { vocabularySize } = architecture.stream;
  if (tokenizer.vocabularySize <= vocabularySize) return tokenizer;
  throw new PuzzleError(
    'tokenizer-mismatch',
    `The tokenizer of ${path} has ids up to ${tokenizer.vocabularySize - 1}, the model ${vocabularySize} embeddings.`,
    {
      at: path,
      value: tokenizer.vocabularySize,
      fix: 'Use the tokenizer that belongs to the model.',
      details: { tokenizer: tokenizer.vocabularySize, model: vocabularySize },
    },
  );
}
