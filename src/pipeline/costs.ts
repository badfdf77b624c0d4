/** What every alternative of a teacher costs under a workload on a profile. */
import { blockKey, blockOf } from '../blocks/index.ts';
import {
  costTable,
  type BlockShape,
  type CostTable,
  type HardwareProfile,
  type Workload,
} from '../hardware/index.ts';
import type { BlockConfig, StreamConfig } from '../model/index.ts';

/** Equal blocks share one shape object, so that each distinct one is costed once. */
export function modelCosts(
  stream: StreamConfig,
  alternatives: readonly (readonly BlockConfig[])[],
  workload: Workload,
  profile: HardwareProfile,
): CostTable {
  const shapes = new Map<string, BlockShape>();
  const shapeOf = (config: BlockConfig): BlockShape => {
    const key = blockKey(config);
    const shape = shapes.get(key) ?? blockShape(config, stream);
    shapes.set(key, shape);
    return shape;
  };
  return costTable(
    stream,
    alternatives.map((configs) => configs.map(shapeOf)),
    workload,
    profile,
  );
}

function blockShape(config: BlockConfig, stream: StreamConfig): BlockShape {
  const block = blockOf(config);
  return {
    weights: Object.values(block.weights(config, stream)),
    kvElementsPerToken: block.kvElementsPerToken(config, stream),
    operators: block.operators(config, stream),
  };
}
