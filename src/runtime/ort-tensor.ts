/** Our tensors as ONNX Runtime's and back, without copies. */
import { Tensor as OrtTensor } from 'onnxruntime-node';
import type { DType, Tensor } from '../tensor/tensor.ts';

/** Element types that onnxruntime-node carries across its border; bfloat16 is not among them. */
const carried: ReadonlySet<string> = new Set<DType>([
  'float32',
  'float64',
  'float16',
  'int32',
  'int64',
  'uint8',
  'bool',
]);

/** @throws RangeError for element types that cannot enter. */
export function toOrt({ dtype, data, shape }: Tensor): OrtTensor {
  if (!carried.has(dtype)) throw new RangeError(`${dtype} tensors cannot enter a graph`);
  return new OrtTensor(dtype as OrtTensor.Type, data as OrtTensor.DataType, shape);
}

/** @throws RangeError for element types that cannot leave. */
export function fromOrt({ type, data, dims }: OrtTensor): Tensor {
  if (!carried.has(type)) throw new RangeError(`${type} tensors cannot leave a graph`);
  const numbers = data as Tensor['data'];
  // Nodes that have Float16Array give that; ours are raw bits.
  const bits =
    type === 'float16' ? new Uint16Array(numbers.buffer, numbers.byteOffset, numbers.length) : numbers;
  return { dtype: type as DType, shape: [...dims], data: bits };
}
