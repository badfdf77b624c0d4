/** How files store elements: plain floats and quantised blocks, decoded to float32 a block at a time. */
import { decodeBfloat16, decodeHalf, encodeBfloat16, encodeHalf } from './half.ts';
import { q4_0, q4_1, q4_k, q5_0, q5_1, q5_k, q6_k, q8_0 } from './quantised.ts';

export interface Encoding {
  /** Elements that are stored together; 1 for plain floats. */
  readonly blockElements: number;
  readonly blockBytes: number;
  /** Decodes whole blocks. `source` starts at a multiple of 8 in its buffer. */
  decode(source: Uint8Array, target: Float32Array): void;
  /** Encodes whole blocks, where we write this encoding. `target` starts at a multiple of 8 in its buffer. */
  encode?(source: Float32Array, target: Uint8Array): void;
}

const words = (bytes: Uint8Array): Uint16Array =>
  new Uint16Array(bytes.buffer, bytes.byteOffset, bytes.byteLength / 2);
const floats = (bytes: Uint8Array): Float32Array =>
  new Float32Array(bytes.buffer, bytes.byteOffset, bytes.byteLength / 4);
const doubles = (bytes: Uint8Array): Float64Array =>
  new Float64Array(bytes.buffer, bytes.byteOffset, bytes.byteLength / 8);

/** By the name that safetensors and GGUF give them. */
export const encodings = {
  F64: {
    blockElements: 1,
    blockBytes: 8,
    decode: (source, target) => target.set(doubles(source)),
  },
  F32: {
    blockElements: 1,
    blockBytes: 4,
    decode: (source, target) => target.set(floats(source)),
    encode: (source, target) => floats(target).set(source),
  },
  F16: {
    blockElements: 1,
    blockBytes: 2,
    decode: (source, target) => decodeHalf(words(source), target),
    encode: (source, target) => encodeHalf(source, words(target)),
  },
  BF16: {
    blockElements: 1,
    blockBytes: 2,
    decode: (source, target) => decodeBfloat16(words(source), target),
    encode: (source, target) => encodeBfloat16(source, words(target)),
  },
  Q4_0: q4_0,
  Q4_1: q4_1,
  Q5_0: q5_0,
  Q5_1: q5_1,
  Q8_0: q8_0,
  Q4_K: q4_k,
  Q5_K: q5_k,
  Q6_K: q6_k,
} as const satisfies Record<string, Encoding>;

export type EncodingName = keyof typeof encodings;

export const isEncoding = (name: string): name is EncodingName => Object.hasOwn(encodings, name);

/** Bytes that `elements` take; whole blocks only. */
export const encodedBytes = (name: EncodingName, elements: number): number =>
  (elements / encodings[name].blockElements) * encodings[name].blockBytes;
