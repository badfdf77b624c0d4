/** Models that continue texts: the decoder graph on fused kernels, sequences with a KV cache, sampling. */
export {
  blockWeightName,
  cachePorts,
  decoderGraph,
  portNames,
  refusesServing,
  rotationName,
  streamWeightName,
  type DecoderDType,
  type DecoderOptions,
} from './decoder-graph.ts';
export { closeDecoder, headWidths, openDecoder, type Decoder } from './decoder.ts';
export { endTokensOf } from './end-tokens.ts';
export { generate, type Phase } from './generate.ts';
export { describeDecoder, isOnnxFolder, onnxFiles, openOnnxFolder } from './onnx-folder.ts';
export { ownText } from './own-text.ts';
export { weightFormats, type WeightFormat } from './quantised.ts';
export { openSequences } from './sequence.ts';
export { textStream } from './text-stream.ts';
