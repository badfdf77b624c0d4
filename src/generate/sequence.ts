/** One sequence that grows: its KV cache stays in the worker, kernels write the new tokens into it in place. */
import { elementCount, type Shape, type Tensor } from '../tensor/index.ts';
import type { Resident } from '../runtime/index.ts';
import { portNames, type DecoderDType } from './decoder-graph.ts';
import type { Decoder } from './decoder.ts';

export interface Sequence {
  /** Tokens so far. */
  readonly length: number;
  /**
   * Appends tokens.
   * @param kept how many of the last of them to get logits of
   * @returns logits of what follows each of those: (kept, vocabulary), flat
   */
  append(tokens: readonly number[], kept?: number): Promise<Float32Array>;
  close(): Promise<void>;
}

/** Tokens of one run: a run cannot be interrupted, and attention's scores are (heads, tokens, length). */
const runTokens = 256;

/** @param capacity tokens it can have in all: its cache is allocated for so many */
export async function openSequence(decoder: Decoder, capacity: number): Promise<Sequence> {
  const { runtime, worker, program, dtype } = decoder;
  const past: Record<string, Resident> = {};
  const present: Record<string, Resident> = {};
  for (const port of decoder.cache) {
    for (const part of ['keys', 'values'] as const) {
      const resident = await runtime.upload(zeros(dtype, [1, port.kvHeads, capacity, port.headDim]), worker);
      past[port.past[part]] = present[port.present[part]] = resident;
    }
  }
  let length = 0;

  const run = async (tokens: readonly number[], kept: number): Promise<Float32Array> => {
    const total = length + tokens.length;
    const mask = new BigInt64Array(total).fill(1n);
    const result = await runtime.run(
      program,
      {
        ...past,
        [portNames.tokens]: int64(tokens, [1, tokens.length]),
        // Without attention nothing asks which tokens are there.
        ...(decoder.cache.length > 0 && {
          [portNames.mask]: { dtype: 'int64', shape: [1, total], data: mask },
        }),
        [portNames.kept]: int64([kept], []),
      },
      { into: present, worker, transfer: true },
    );
    length = total;
    return result[portNames.logits]!.data as Float32Array;
  };

  return {
    get length() {
      return length;
    },
    async append(tokens, kept = 1) {
      if (tokens.length === 0 || kept < 1 || kept > tokens.length)
        throw new RangeError(`no logits of ${kept} among ${tokens.length} tokens`);
      if (length + tokens.length > capacity)
        throw new RangeError(`${length} and ${tokens.length} tokens exceed the sequence's ${capacity}`);
      const logits: Float32Array[] = [];
      for (let start = 0; start < tokens.length; start += runTokens) {
        const part = tokens.slice(start, start + runTokens);
        const wanted = Math.max(0, start + part.length - (tokens.length - kept));
        const found = await run(part, Math.max(1, Math.min(part.length, wanted)));
        if (wanted > 0) logits.push(found);
      }
      return logits.length === 1 ? logits[0]! : joined(logits);
    },
    close: async () => runtime.release(...Object.values(past)),
  };
}

const int64 = (values: readonly number[], shape: Shape): Tensor => ({
  dtype: 'int64',
  shape,
  data: BigInt64Array.from(values, BigInt),
});

const zeros = (dtype: DecoderDType, shape: Shape): Tensor =>
  dtype === 'float32'
    ? { dtype, shape, data: new Float32Array(elementCount(shape)) }
    : { dtype, shape, data: new Uint16Array(elementCount(shape)) };

function joined(parts: readonly Float32Array[]): Float32Array {
  const all = new Float32Array(parts.reduce((sum, { length }) => sum + length, 0));
  let end = 0;
  for (const part of parts) {
    all.set(part, end);
    end += part.length;
  }
  return all;
}
