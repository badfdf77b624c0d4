/** What a cost model must know of a block, and the distinct blocks of a model. */
import { blockKey, blockOf, parseBlock } from '../blocks/index.ts';
import type { Operator } from '../blocks/index.ts';
import type { Architecture, BlockConfig, StreamConfig } from '../model/architecture.ts';
import type { Shape } from '../tensor/tensor.ts';

export interface BlockShape {
  readonly weights: readonly Shape[];
  readonly kvElementsPerToken: number;
  readonly operators: readonly Operator[];
}

/** @throws PuzzleError where the registry does not know the block or its config is malformed */
export function blockShape(config: BlockConfig, stream: StreamConfig, at = 'block'): BlockShape {
  const checked = parseBlock(config, at);
  const block = blockOf(checked);
  return {
    weights: Object.values(block.weights(checked, stream)),
    kvElementsPerToken: block.kvElementsPerToken(checked, stream),
    operators: block.operators(checked, stream),
  };
}

export interface CountedBlock {
  readonly config: BlockConfig;
  readonly shape: BlockShape;
  readonly times: number;
}

/** Distinct blocks of a model with how often each occurs, in order of first occurrence. */
export function countedBlocks({ stream, slots }: Architecture): readonly CountedBlock[] {
  const counted = new Map<string, { config: BlockConfig; shape: BlockShape; times: number }>();
  for (const [i, { block: config }] of slots.entries()) {
    const key = blockKey(config);
    const found = counted.get(key);
    if (found === undefined)
      counted.set(key, { config, shape: blockShape(config, stream, `slots.${i}`), times: 1 });
    else found.times++;
  }
  return [...counted.values()];
}
