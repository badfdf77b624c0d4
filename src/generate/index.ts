/** Models that continue texts: the decoder graph on fused kernels, sequences with a KV cache, sampling. */
export { openDecoder, type Decoder } from './decoder.ts';
export { openSequence, type Sequence } from './sequence.ts';
