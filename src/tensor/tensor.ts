/** A tensor on the host: element type, shape, and one flat typed array in row-major order. */

export interface TensorData {
  readonly float32: Float32Array;
  readonly float64: Float64Array;
  /** Raw IEEE half bits. */
  readonly float16: Uint16Array;
  /** Raw bfloat16 bits. */
  readonly bfloat16: Uint16Array;
  readonly int32: Int32Array;
  readonly int64: BigInt64Array;
  readonly uint8: Uint8Array;
  /** 0 or 1 per element. */
  readonly bool: Uint8Array;
}

export type DType = keyof TensorData;
export type Shape = readonly number[];

export interface Tensor<D extends DType = DType> {
  readonly dtype: D;
  readonly shape: Shape;
  readonly data: TensorData[D];
}

/** Number of elements of a shape; 1 for a scalar. */
export const elementCount = (shape: Shape): number => shape.reduce((product, extent) => product * extent, 1);

const elementBytes: Readonly<Record<DType, number>> = {
  float32: 4,
  float64: 8,
  float16: 2,
  bfloat16: 2,
  int32: 4,
  int64: 8,
  uint8: 1,
  bool: 1,
};

/** Bytes of a tensor's data. */
export const byteSize = ({ dtype, shape }: Pick<Tensor, 'dtype' | 'shape'>): number =>
  elementBytes[dtype] * elementCount(shape);

/** Wraps values as a float32 tensor; the array is kept, not copied. */
export function float32(data: Float32Array, shape: Shape): Tensor<'float32'> {
  if (data.length !== elementCount(shape)) {
    throw new RangeError(`${data.length} elements do not fill shape [${shape.join(', ')}]`);
  }
  return { dtype: 'float32', shape, data };
}
