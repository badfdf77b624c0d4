/** Matrices in blocks of 32 whole numbers with a scale each, multiplied by ONNX Runtime's kernel for them. */
import { fused, input, type Value } from '../graph/index.ts';
import type { Tensor } from '../tensor/index.ts';

/** How the matrices of products are held. */
export const weightFormats = ['f32', 'q8', 'q4'] as const;
export type WeightFormat = (typeof weightFormats)[number];
type QuantisedFormat = Exclude<WeightFormat, 'f32'>;

const blockElements = 32;

const kernels: Readonly<Record<QuantisedFormat, { readonly bits: number; readonly accuracyLevel: number }>> =
  {
    // Eight bits have a fast kernel only with activations in eight bits as well (accuracy level 4), four bits without.
    q8: { bits: 8, accuracyLevel: 4 },
    q4: { bits: 4, accuracyLevel: 0 },
  };

export const quantisedName = (weight: string, part: 'blocks' | 'scales'): string => `${weight}.${part}`;

/** The product with a quantised matrix in place of a gemm with a weight; undefined for any other value. */
export function quantisedProduct(value: Value, format: WeightFormat): Value | undefined {
  if (format === 'f32' || value.op !== 'gemm' || !value.attributes.transposeB) return undefined;
  const [x, weight] = value.inputs as [Value, Value];
  const [columns, inner] = weight.shape as [number, number];
  if (weight.op !== 'input' || inner % blockElements !== 0) return undefined;
  const { bits, accuracyLevel } = kernels[format];
  const blocks = inner / blockElements;
  const { name } = weight.attributes;
  return fused(
    'com.microsoft',
    'MatMulNBits',
    [
      x,
      input(quantisedName(name, 'blocks'), 'uint8', [columns, blocks, (blockElements * bits) / 8]),
      input(quantisedName(name, 'scales'), 'float32', [columns, blocks]),
    ],
    { K: inner, N: columns, bits, block_size: blockElements, accuracy_level: accuracyLevel },
    [{ dtype: value.dtype, shape: value.shape }],
  );
}

/**
 * A matrix in blocks. Numbers are offset by half their range, and the one of largest size in a block is met exactly:
 * so matrices that come from Q8_0 and Q4_0 keep their values.
 */
export function quantise(
  { data, shape }: Tensor<'float32'>,
  format: QuantisedFormat,
): { readonly blocks: Tensor<'uint8'>; readonly scales: Tensor<'float32'> } {
  const { bits } = kernels[format];
  const [columns, inner] = shape as [number, number];
  const half = 2 ** (bits - 1);
  // Q4_0 puts the largest at the end of its range, -8; Q8_0 is symmetric, up to 127.
  const end = format === 'q4' ? -half : half - 1;
  const scales = new Float32Array(data.length / blockElements);
  const blocks = new Uint8Array((data.length * bits) / 8);
  for (let block = 0; block < scales.length; block++) {
    const first = block * blockElements;
    let largest = 0;
    for (let i = first; i < first + blockElements; i++)
      if (Math.abs(data[i]!) > Math.abs(largest)) largest = data[i]!;
    const scale = (format === 'q4' ? largest : Math.abs(largest)) / end;
    scales[block] = scale;
    for (let i = first; i < first + blockElements; i++) {
      const whole = scale === 0 ? 0 : Math.round(data[i]! / scale);
      const stored = Math.min(Math.max(whole, -half), half - 1) + half;
      if (bits === 8) blocks[i] = stored;
      else blocks[i >> 1]! |= stored << (4 * (i & 1)); // the first of two in the low half
    }
  }
  const perColumn = inner / blockElements;
  return {
    blocks: { dtype: 'uint8', shape: [columns, perColumn, (blockElements * bits) / 8], data: blocks },
    scales: { dtype: 'float32', shape: [columns, perColumn], data: scales },
  };
}
