/** Our tensors as ONNX Runtime's and back, without copies. */
import { Tensor as OrtTensor } from 'onnxruntime-node';
import type { DType, Tensor } from '../tensor/tensor.ts';

const carried: ReadonlySet<string> = new Set<DType>([
  'float32',
  'float64',
  'float16',
  'int32',
  'int64',
  'uint8',
  'bool',
]);

/** @throws RangeError for element types that onnxruntime-node does not carry (bfloat16). */
export function toOrt({ dtype, data, shape }: Tensor): OrtTensor {
  if (!carried.has(dtype)) throw new RangeError(`${dtype} tensors cannot enter a graph`);
  return new OrtTensor(dtype as OrtTensor.Type, data as OrtTensor.DataType, shape);
}

export async function fromOrt(tensor: OrtTensor): Promise<Tensor> {
  if (!carried.has(tensor.type)) throw new RangeError(`${tensor.type} tensors cannot leave a graph`);
  const data = (await tensor.getData()) as Tensor['data'];
  // Newer Nodes give Float16Array; ours are raw bits.
  const bits = tensor.type === 'float16' ? new Uint16Array(data.buffer, data.byteOffset, data.length) : data;
  return { dtype: tensor.type as DType, shape: [...tensor.dims], data: bits } as Tensor;
}
