/**
 * Sixteen-bit floats (IEEE half and bfloat16) to and from float32, whole arrays at a time.
 * Typed arrays here and in `encoding.ts` read files in the machine's byte order, which Node only runs as little-endian.
 */

/** Halves to floats: (n) -> (n). */
export function decodeHalf(source: Uint16Array, target: Float32Array): void {
  const table = halfTable();
  for (let i = 0; i < source.length; i++) target[i] = table[source[i]!]!;
}

/** Bfloat16 is the upper half of a float32: (n) -> (n). */
export function decodeBfloat16(source: Uint16Array, target: Float32Array): void {
  const bits = bitsOf(target);
  for (let i = 0; i < source.length; i++) bits[i] = source[i]! << 16;
}

/** Floats to halves, rounding to nearest, ties to even; beyond 65504 gives infinity: (n) -> (n). */
export function encodeHalf(source: Float32Array, target: Uint16Array): void {
  const bits = bitsOf(source);
  for (let i = 0; i < bits.length; i++) target[i] = halfBits(bits[i]!);
}

/** Floats to bfloat16, rounding to nearest, ties to even: (n) -> (n). */
export function encodeBfloat16(source: Float32Array, target: Uint16Array): void {
  const bits = bitsOf(source);
  for (let i = 0; i < bits.length; i++) {
    const value = bits[i]!;
    const isNan = (value & 0x7fffffff) > 0x7f800000;
    target[i] = isNan ? (value >>> 16) | 0x40 : (value + 0x7fff + ((value >>> 16) & 1)) >>> 16;
  }
}

const bitsOf = (values: Float32Array): Uint32Array =>
  new Uint32Array(values.buffer, values.byteOffset, values.length);

/** The value of each of the 65536 halves; 256 KiB, made when the first half is read. */
export function halfTable(): Float32Array {
  if (table !== undefined) return table;
  table = new Float32Array(0x10000);
  for (let half = 0; half < 0x10000; half++) {
    const sign = half & 0x8000 ? -1 : 1;
    const exponent = (half >>> 10) & 0x1f;
    const fraction = half & 0x3ff;
    const magnitude =
      exponent === 0
        ? fraction * 2 ** -24
        : exponent < 0x1f
          ? (0x400 + fraction) * 2 ** (exponent - 25)
          : fraction === 0
            ? Number.POSITIVE_INFINITY
            : Number.NaN;
    table[half] = sign * magnitude;
  }
  return table;
}
let table: Float32Array | undefined;

const scratch = new Float32Array(1);
const scratchBits = bitsOf(scratch);

function halfBits(bits: number): number {
  const sign = (bits >>> 16) & 0x8000;
  const magnitude = bits & 0x7fffffff;
  if (magnitude > 0x7f800000) return sign | 0x7e00;
  // 65520 lies half-way between the largest half and the next power of two, and that tie goes to infinity.
  if (magnitude >= 0x477ff000) return sign | 0x7c00;
  if (magnitude >= 0x38800000) {
    // Add just under half of the last kept place, one more when it is odd; then move the exponent's bias 127 -> 15.
    return sign | ((magnitude + 0xfff + ((magnitude >>> 13) & 1) - 0x38000000) >>> 13);
  }
  // Below 2^-14 halves are multiples of 2^-24, the spacing of floats just above 0.5: that addition does the rounding.
  scratchBits[0] = magnitude;
  scratch[0] = scratch[0]! + 0.5;
  return sign | (scratchBits[0] - 0x3f000000);
}
