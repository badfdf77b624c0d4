/** Models: what they are, where they come from, how texts become tokens. */
export type { Architecture, BlockConfig, RopeScaling, Slot, SlotKind, StreamConfig } from './architecture.ts';
export { formatArchitecture } from './architecture-file.ts';
export { readArchitecture } from './read-architecture.ts';
export { bundledTeacher } from './bundled-model.ts';
export { openModel } from './open-model.ts';
export type { Checkpoint, SlotWeights } from './checkpoint.ts';
export { saveStudent, type StudentWeights } from './save-student.ts';
export { createTokenizer, type Tokenizer, type TokenizerFiles } from './tokenizer.ts';
export { cutWindows, readTokens, type TokenWindows } from './tokens.ts';
export { specialIds, tokenizerToGguf } from './tokenizer-to-gguf.ts';
export { families } from './families.ts';
export { heterogeneousArchitecture, llama3Divisors, ropeFactorsName } from './gguf-config.ts';
export { idleWidth } from './deci-layers.ts';
export { halvesToNeighbours, isTurned } from './rope-order.ts';
export { widthOfMultiplier } from './nemotron-nas.ts';
export { slotWeightName, streamWeightNames, type StreamWeight } from './weight-names.ts';
