/** Blocks: what may stand in a slot, and which alternatives a search space offers there. */
export type { Block, FeatureGrid, ForwardContext, TeacherBlock, Weights } from './block.ts';
export { contributions, strongestChannels } from './contribution.ts';
export type { Operator } from './operators.ts';
export { blockForward } from './forward.ts';
export type { BlockForward } from './forward.ts';
export { product } from './matrix.ts';
export { rmsNorm } from './rms-norm.ts';
export { flattened, reshapeTo, rotationTables, servingHeadMultiple, whole, withRows } from './serving.ts';
export type { ServingCache, ServingContext } from './serving.ts';
export {
  blockKey,
  blockOf,
  blockParameters,
  blocks,
  modelParameters,
  parseBlock,
  sameBlock,
} from './registry.ts';
export { alternativesOf, bundledSpaces, loadSpace, parseSpace } from './space.ts';
export type { SearchSpace } from './space.ts';
