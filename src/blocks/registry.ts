/** Every block there is. A new one is a file and a line here. */
import type { Architecture, BlockConfig, StreamConfig } from '../model/architecture.ts';
import { elementCount } from '../tensor/tensor.ts';
import { PuzzleError } from '../util/errors.ts';
import type { Block } from './block.ts';
import { gqa } from './gqa.ts';
import { linear } from './linear.ts';
import { lowRank } from './low-rank.ts';
import { noOp } from './no-op.ts';
import { swiglu } from './swiglu.ts';

export const blocks: readonly Block[] = [gqa, swiglu, linear, lowRank, noOp];

const byKind: ReadonlyMap<string, Block> = new Map(blocks.map((block) => [block.kind, block]));

/**
 * The block that a config names.
 * @throws PuzzleError `file-invalid` for a kind that is not registered.
 */
export function blockOf({ kind }: BlockConfig): Block {
  const block = byKind.get(kind);
  if (block !== undefined) return block;
  throw new PuzzleError('file-invalid', `There is no block of kind '${kind}'.`, {
    value: kind,
    fix: `Use one of ${[...byKind.keys()].join(', ')}.`,
  });
}

/**
 * A block config from outside, checked by its block's schema.
 * @param at where it stands, for the message: `architecture.json: slots.3`
 * @throws PuzzleError `file-invalid`
 */
export function parseBlock(config: BlockConfig, at: string): BlockConfig {
  const parsed = blockOf(config).schema.safeParse(config);
  if (parsed.success) return parsed.data;
  const issue = parsed.error.issues[0]!;
  throw new PuzzleError('file-invalid', `A ${config.kind} block is malformed: ${issue.message}.`, {
    at: [at, ...issue.path].join('.'),
    value: config,
    fix: 'Correct the field.',
  });
}

/** Two configs of one meaning have the same key: fields in alphabetical order. */
export const blockKey = (config: BlockConfig): string =>
  JSON.stringify(Object.entries(config).sort(([a], [b]) => (a < b ? -1 : 1)));

export const sameBlock = (a: BlockConfig, b: BlockConfig): boolean => blockKey(a) === blockKey(b);

/** Weights of one block, counted. */
export const blockParameters = (config: BlockConfig, stream: StreamConfig): number =>
  Object.values(blockOf(config).weights(config, stream)).reduce((sum, shape) => sum + elementCount(shape), 0);

/** All weights of a model: blocks, embedding, final norm, and the head where it is not the embedding. */
export function modelParameters({ stream, slots }: Architecture): number {
  const matrices = stream.tiedEmbeddings ? 1 : 2;
  const outside = matrices * stream.vocabularySize * stream.hidden + stream.hidden;
  return slots.reduce((sum, slot) => sum + blockParameters(slot.block, stream), outside);
}
