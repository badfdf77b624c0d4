/** Rotary position embedding (arXiv 2104.09864) in the halves convention of Hugging Face, with Llama 3's scaling. */
import { add, concat, constant, mul, slice, sub } from '../graph/index.ts';
import type { Value } from '../graph/index.ts';
import type { RopeScaling, StreamConfig } from '../model/architecture.ts';
import { float32 } from '../tensor/tensor.ts';

/** Turns pairs (j, j + headDim / 2) of (batch, tokens, heads, headDim) by the angle of the token's position. */
export function rotate(x: Value, { ropeTheta, ropeScaling }: StreamConfig): Value {
  const [, tokens, , headDim] = x.shape as [number, number, number, number];
  const half = headDim / 2;
  const frequencies = ropeFrequencies(headDim, ropeTheta, ropeScaling);
  const table = (of: (angle: number) => number): Value => {
    const values = Float32Array.from({ length: tokens * half }, (_, i) =>
      of(Math.floor(i / half) * frequencies[i % half]!),
    );
    return constant(float32(values, [tokens, 1, half])); // broadcasts over heads
  };
  const [cos, sin] = [table(Math.cos), table(Math.sin)];
  const [a, b] = [slice(x, 3, 0, half), slice(x, 3, half, headDim)];
  return concat([sub(mul(a, cos), mul(b, sin)), add(mul(b, cos), mul(a, sin))], 3);
}

/**
 * Radians per position of each pair: theta^(-2j / headDim). Llama 3.1 divides those whose wavelength exceeds the
 * original context by `factor`, keeps the short ones, and blends in between (config.json `rope_type: llama3`).
 */
export function ropeFrequencies(headDim: number, theta: number, scaling?: RopeScaling): Float64Array {
  const plain = Float64Array.from({ length: headDim / 2 }, (_, j) => theta ** ((-2 * j) / headDim));
  if (scaling === undefined) return plain;
  const { factor, lowFrequencyFactor, highFrequencyFactor, originalContextLength } = scaling;
  return plain.map((frequency) => {
    const turns = (originalContextLength * frequency) / (2 * Math.PI);
    const blend = (turns - lowFrequencyFactor) / (highFrequencyFactor - lowFrequencyFactor);
    const kept = Math.min(1, Math.max(0, blend));
    return kept * frequency + ((1 - kept) * frequency) / factor;
  });
}
