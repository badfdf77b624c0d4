/** How many bytes a stored number takes, scales of quantised formats included. */
import type { Shape } from '../tensor/tensor.ts';

export const weightFormats = ['fp32', 'fp16', 'bf16', 'fp8', 'int8', 'int4', 'nvfp4'] as const;
export type WeightFormat = (typeof weightFormats)[number];

export const kvFormats = ['fp32', 'fp16', 'bf16', 'fp8', 'int8'] as const;
export type KvFormat = (typeof kvFormats)[number];

export const activationFormats = ['fp32', 'fp16', 'bf16'] as const;
export type ActivationFormat = (typeof activationFormats)[number];

/** Bits per element, and how its scales are laid out: one per tensor, per output row, or per run of inputs. */
interface Layout {
  readonly bits: number;
  readonly scale?: {
    readonly bytes: number;
    readonly per: 'tensor' | 'row' | number;
    readonly perTensorBytes?: number;
  };
}

const layouts: Readonly<Record<WeightFormat, Layout>> = {
  fp32: { bits: 32 },
  fp16: { bits: 16 },
  bf16: { bits: 16 },
  // Per-tensor fp32 scale, as in ModelOpt's FP8 checkpoints.
  fp8: { bits: 8, scale: { bytes: 4, per: 'tensor' } },
  // One fp32 scale per output channel, as SmoothQuant and weight-only int8 store it.
  int8: { bits: 8, scale: { bytes: 4, per: 'row' } },
  // AWQ and GPTQ, group size 128, fp16 scale.
  int4: { bits: 4, scale: { bytes: 2, per: 128 } },
  // One fp8 scale per 16 inputs and one fp32 per tensor (NVFP4).
  nvfp4: { bits: 4, scale: { bytes: 1, per: 16, perTensorBytes: 4 } },
};

/** Bytes of one element without its scales. */
export function elementBytes(format: WeightFormat | KvFormat | ActivationFormat): number {
  return layouts[format].bits / 8;
}

/**
 * Exact bytes of one weight. Vectors (norms, biases) stay in 16 bits under every quantised format, as serving stacks
 * keep them; matrices are (out, in).
 */
export function tensorBytes(shape: Shape, format: WeightFormat): number {
  const elements = shape.reduce((product, extent) => product * extent, 1);
  if (shape.length < 2) return elements * Math.max(2, elementBytes(format));
  const { bits, scale } = layouts[format];
  const rows = shape[0]!;
  const payload = Math.ceil((elements * bits) / 8);
  if (scale === undefined) return payload;
  const scales =
    scale.per === 'tensor' ? 1 : scale.per === 'row' ? rows : rows * Math.ceil(elements / rows / scale.per);
  return payload + scales * scale.bytes + (scale.perTensorBytes ?? 0);
}
