/**
 * The block-quantised encodings of GGUF: each block of 32 or 256 elements has its own scale (and offset).
 * Layouts as ggml defines them (ggml-common.h); products of these scales and codes are exact in float32, so results
 * are bit for bit those of ggml and of the Python package `gguf`.
 */
import { encodeHalf, halfTable } from './half.ts';
import type { Encoding } from './encoding.ts';

const half = (bytes: Uint8Array, at: number): number => halfTable()[bytes[at]! | (bytes[at + 1]! << 8)]!;
const signed = (byte: number): number => (byte << 24) >> 24;

/** Writes a number as a half. */
function putHalf(value: number, bytes: Uint8Array, at: number): void {
  scratch[0] = value;
  encodeHalf(scratch, scratchHalf);
  bytes[at] = scratchHalf[0]! & 255;
  bytes[at + 1] = scratchHalf[0]! >>> 8;
}
const scratch = new Float32Array(1);
const scratchHalf = new Uint16Array(1);

/** An encoding from the decoder of one block and, where we write it, the encoder. */
const blocks = (
  blockElements: number,
  blockBytes: number,
  decodeBlock: (source: Uint8Array, at: number, target: Float32Array, to: number) => void,
  encodeBlock?: (source: Float32Array, from: number, target: Uint8Array, at: number) => void,
): Encoding => ({
  blockElements,
  blockBytes,
  decode(source, target) {
    for (let at = 0, to = 0; to < target.length; at += blockBytes, to += blockElements) {
      decodeBlock(source, at, target, to);
    }
  },
  ...(encodeBlock !== undefined && {
    encode(source, target) {
      for (let from = 0, at = 0; from < source.length; from += blockElements, at += blockBytes) {
        encodeBlock(source, from, target, at);
      }
    },
  }),
});

/**
 * d: half, codes: 16 bytes, element j in the low and j + 16 in the high nibble; x = d (q - 8). Encoded so that the
 * element of the largest magnitude is -8 d, as ggml does; decoding and encoding again changes nothing.
 */
export const q4_0 = blocks(
  32,
  18,
  (source, at, target, to) => {
    const d = half(source, at);
    for (let j = 0; j < 16; j++) {
      const codes = source[at + 2 + j]!;
      target[to + j] = d * ((codes & 15) - 8);
      target[to + 16 + j] = d * ((codes >>> 4) - 8);
    }
  },
  (source, from, target, at) => {
    const d = Math.fround(largest(source, from) / -8);
    const inverse = inverseOf(d);
    const code = (j: number): number =>
      Math.min(15, Math.trunc(Math.fround(Math.fround(source[from + j]! * inverse) + 8.5)));
    putHalf(inverse === 0 ? -0 : d, target, at); // 0 / -8
    for (let j = 0; j < 16; j++) target[at + 2 + j] = code(j) | (code(j + 16) << 4);
  },
);

/** 1 / d, or 0 where d rounds to the half 0, so that codes and scale vanish together. */
const inverseOf = (d: number): number => (Math.abs(d) <= 2 ** -25 ? 0 : Math.fround(1 / d));

/** The element of the largest magnitude of the 32 from `from` on; the first of equals. */
function largest(source: Float32Array, from: number): number {
  let found = 0;
  for (let i = from; i < from + 32; i++) if (Math.abs(source[i]!) > Math.abs(found)) found = source[i]!;
  return found;
}

/** d, m: half, codes as q4_0; x = d q + m. */
export const q4_1 = blocks(32, 20, (source, at, target, to) => {
  const d = half(source, at);
  const m = half(source, at + 2);
  for (let j = 0; j < 16; j++) {
    const codes = source[at + 4 + j]!;
    target[to + j] = d * (codes & 15) + m;
    target[to + 16 + j] = d * (codes >>> 4) + m;
  }
});

const uint32 = (bytes: Uint8Array, at: number): number =>
  bytes[at]! | (bytes[at + 1]! << 8) | (bytes[at + 2]! << 16) | (bytes[at + 3]! << 24);

/** d: half, fifth bits: 4 bytes (bit j of element j), low bits as q4_0; x = d (q - 16). */
export const q5_0 = blocks(32, 22, (source, at, target, to) => {
  const d = half(source, at);
  const fifth = uint32(source, at + 2);
  for (let j = 0; j < 16; j++) {
    const codes = source[at + 6 + j]!;
    target[to + j] = d * (((codes & 15) | (((fifth >>> j) & 1) << 4)) - 16);
    target[to + 16 + j] = d * (((codes >>> 4) | (((fifth >>> (j + 16)) & 1) << 4)) - 16);
  }
});

/** d, m: half, bits as q5_0; x = d q + m. */
export const q5_1 = blocks(32, 24, (source, at, target, to) => {
  const d = half(source, at);
  const m = half(source, at + 2);
  const fifth = uint32(source, at + 4);
  for (let j = 0; j < 16; j++) {
    const codes = source[at + 8 + j]!;
    target[to + j] = d * ((codes & 15) | (((fifth >>> j) & 1) << 4)) + m;
    target[to + 16 + j] = d * ((codes >>> 4) | (((fifth >>> (j + 16)) & 1) << 4)) + m;
  }
});

/**
 * d: half, codes: 32 signed bytes; x = d q. Encoded so that the element of the largest magnitude is 127 d, ties away
 * from zero, as ggml does; decoding and encoding again changes nothing.
 */
export const q8_0 = blocks(
  32,
  34,
  (source, at, target, to) => {
    const d = half(source, at);
    for (let j = 0; j < 32; j++) target[to + j] = d * signed(source[at + 2 + j]!);
  },
  (source, from, target, at) => {
    const d = Math.fround(Math.abs(largest(source, from)) / 127);
    const inverse = inverseOf(d);
    putHalf(d, target, at);
    for (let j = 0; j < 32; j++) {
      const scaled = Math.fround(source[from + j]! * inverse);
      target[at + 2 + j] = Math.sign(scaled) * Math.floor(Math.abs(scaled) + 0.5);
    }
  },
);

/** Six-bit scale of sub-block j of 8 in a K block's 12 packed bytes. */
const scaleK = (source: Uint8Array, at: number, j: number): number =>
  j < 4 ? source[at + j]! & 63 : (source[at + j + 4]! & 15) | ((source[at + j - 4]! >>> 6) << 4);

/** Six-bit offset of sub-block j of 8 in a K block's 12 packed bytes. */
const offsetK = (source: Uint8Array, at: number, j: number): number =>
  j < 4 ? source[at + j + 4]! & 63 : (source[at + j + 4]! >>> 4) | ((source[at + j]! >>> 6) << 4);

/** d, m: half, 8 scales and offsets in 12 bytes, 128 bytes of codes; x = (d scale) q - (m offset). */
export const q4_k = blocks(256, 144, (source, at, target, to) => {
  const d = half(source, at);
  const m = half(source, at + 2);
  for (let pair = 0; pair < 4; pair++) {
    const lowScale = d * scaleK(source, at + 4, 2 * pair);
    const lowOffset = m * offsetK(source, at + 4, 2 * pair);
    const highScale = d * scaleK(source, at + 4, 2 * pair + 1);
    const highOffset = m * offsetK(source, at + 4, 2 * pair + 1);
    for (let j = 0; j < 32; j++) {
      const codes = source[at + 16 + 32 * pair + j]!;
      target[to + 64 * pair + j] = lowScale * (codes & 15) - lowOffset;
      target[to + 64 * pair + 32 + j] = highScale * (codes >>> 4) - highOffset;
    }
  }
});

/** As q4_k, with 32 bytes of fifth bits before the codes: bit b of byte j belongs to element 32 b + j. */
export const q5_k = blocks(256, 176, (source, at, target, to) => {
  const d = half(source, at);
  const m = half(source, at + 2);
  for (let pair = 0; pair < 4; pair++) {
    const lowScale = d * scaleK(source, at + 4, 2 * pair);
    const lowOffset = m * offsetK(source, at + 4, 2 * pair);
    const highScale = d * scaleK(source, at + 4, 2 * pair + 1);
    const highOffset = m * offsetK(source, at + 4, 2 * pair + 1);
    for (let j = 0; j < 32; j++) {
      const codes = source[at + 48 + 32 * pair + j]!;
      const fifth = source[at + 16 + j]! >>> (2 * pair);
      target[to + 64 * pair + j] = lowScale * ((codes & 15) | ((fifth & 1) << 4)) - lowOffset;
      target[to + 64 * pair + 32 + j] = highScale * ((codes >>> 4) | ((fifth & 2) << 3)) - highOffset;
    }
  }
});

/** 128 bytes of low nibbles, 64 of upper bit pairs, 16 signed scales, d: half; x = (d scale) (q - 32). */
export const q6_k = blocks(256, 210, (source, at, target, to) => {
  const d = half(source, at + 208);
  for (let part = 0; part < 2; part++) {
    const low = at + 64 * part;
    const upper = at + 128 + 32 * part;
    const scales = at + 192 + 8 * part;
    const out = to + 128 * part;
    for (let j = 0; j < 32; j++) {
      const first = source[low + j]!;
      const second = source[low + 32 + j]!;
      const pairs = source[upper + j]!;
      const scale = scales + (j >>> 4);
      target[out + j] = d * signed(source[scale]!) * (((first & 15) | ((pairs & 3) << 4)) - 32);
      target[out + 32 + j] = d * signed(source[scale + 2]!) * (((second & 15) | ((pairs & 12) << 2)) - 32);
      target[out + 64 + j] = d * signed(source[scale + 4]!) * (((first >>> 4) | (pairs & 48)) - 32);
      target[out + 96 + j] = d * signed(source[scale + 6]!) * (((second >>> 4) | ((pairs & 192) >>> 2)) - 32);
    }
  }
});
