/** Tensors, and the files that hold them. */
export { float32, elementCount, type DType, type Shape, type Tensor, type TensorData } from './tensor.ts';
export { openSafetensors, openSafetensorsFolder } from './safetensors.ts';
export { writeElements, writeSafetensors } from './safetensors-write.ts';
export { openGguf, type GgufFile } from './gguf.ts';
export { writeGguf } from './gguf-write.ts';
export type { GgufMetadata, GgufValue } from './gguf-format.ts';
export { inMemory, type StoredTensor, type TensorFile } from './stored-tensor.ts';
export { FileReader, readText } from './file-reader.ts';
