/** What GGUF files are made of: value types, tensor types, and metadata as typed values. Format: ggml's docs/gguf.md. */
import type { EncodingName } from './encoding.ts';

export const magic = 0x46554747; // "GGUF", little-endian
export const defaultAlignment = 32;

/** Metadata value types by their number in the file. */
export const valueTypes = [
  'uint8',
  'int8',
  'uint16',
  'int16',
  'uint32',
  'int32',
  'float32',
  'bool',
  'string',
  'array',
  'uint64',
  'int64',
  'float64',
] as const;
export type GgufValueType = (typeof valueTypes)[number];

/** A metadata value with the type it has in the file, so that writing it again gives the same bytes. */
export type GgufValue =
  | {
      readonly type: Exclude<GgufValueType, 'uint64' | 'int64' | 'bool' | 'string' | 'array'>;
      readonly value: number;
    }
  | { readonly type: 'uint64' | 'int64'; readonly value: bigint }
  | { readonly type: 'bool'; readonly value: boolean }
  | { readonly type: 'string'; readonly value: string }
  | { readonly type: 'array'; readonly items: GgufValueType; readonly value: readonly GgufItem[] };

export type GgufItem = number | bigint | boolean | string | readonly GgufItem[];

export type GgufMetadata = ReadonlyMap<string, GgufValue>;

/** Bytes of the value types that have a fixed size. */
export const valueBytes: Readonly<Partial<Record<GgufValueType, number>>> = {
  uint8: 1,
  int8: 1,
  uint16: 2,
  int16: 2,
  uint32: 4,
  int32: 4,
  float32: 4,
  bool: 1,
  uint64: 8,
  int64: 8,
  float64: 8,
};

/** Tensor types by their number in the file; names that are no {@link EncodingName} are known but not decoded. */
export const tensorTypes: ReadonlyMap<number, string> = new Map([
  [0, 'F32'],
  [1, 'F16'],
  [2, 'Q4_0'],
  [3, 'Q4_1'],
  [6, 'Q5_0'],
  [7, 'Q5_1'],
  [8, 'Q8_0'],
  [9, 'Q8_1'],
  [10, 'Q2_K'],
  [11, 'Q3_K'],
  [12, 'Q4_K'],
  [13, 'Q5_K'],
  [14, 'Q6_K'],
  [15, 'Q8_K'],
  [16, 'IQ2_XXS'],
  [17, 'IQ2_XS'],
  [18, 'IQ3_XXS'],
  [19, 'IQ1_S'],
  [20, 'IQ4_NL'],
  [21, 'IQ3_S'],
  [22, 'IQ2_S'],
  [23, 'IQ4_XS'],
  [24, 'I8'],
  [25, 'I16'],
  [26, 'I32'],
  [27, 'I64'],
  [28, 'F64'],
  [29, 'IQ1_M'],
  [30, 'BF16'],
  [34, 'TQ1_0'],
  [35, 'TQ2_0'],
  [39, 'MXFP4'],
]);

/** The number of an encoding in the file. */
export function tensorTypeOf(encoding: EncodingName): number {
  for (const [number, name] of tensorTypes) if (name === encoding) return number;
  throw new RangeError(`GGUF has no type for ${encoding}`);
}

/** The next multiple of `alignment`. */
export const aligned = (position: number, alignment: number): number =>
  Math.ceil(position / alignment) * alignment;
