/** Sequences that grow together: their KV cache stays in the worker, kernels write the new tokens into it in place. */
import { elementCount, type Shape, type Tensor } from '../tensor/index.ts';
import type { Resident } from '../runtime/index.ts';
import { portNames, type DecoderDType } from './decoder-graph.ts';
import type { Decoder } from './decoder.ts';

export interface Sequences {
  /** Tokens of each so far. */
  readonly length: number;
  /**
   * Appends tokens. To several sequences that have begun, one token each: the fused kernel takes no more.
   * @param tokens as many to each: (count, tokens), flat
   * @param kept how many of the last of them to get logits of
   * @returns logits of what follows each of those: (count, kept, vocabulary), flat
   */
  append(tokens: readonly number[], kept?: number): Promise<Float32Array>;
  close(): Promise<void>;
}

/** Tokens of one run: a run cannot be interrupted, and attention's scores are (heads, tokens, length). */
const runTokens = 256;

/**
 * Tokens that the cache has room for grow by so many at once. Kernels write into the cache in place, but onnxruntime-node
 * (1.30) copies every output of a run, so each token pays for all the room there is.
 */
const growth = 64;

/**
 * @param capacity tokens each can have in all
 * @param count sequences; weights are read once for all of them
 */
export async function openSequences(decoder: Decoder, capacity: number, count = 1): Promise<Sequences> {
  const { runtime, worker, program, dtype } = decoder;
  const past: Record<string, Resident> = {};
  const present: Record<string, Resident> = {};
  let [length, room] = [0, 0];

  /** Makes room for so many tokens in all, and some more. */
  const grow = async (least: number): Promise<void> => {
    const wider = Math.min(capacity, Math.ceil(least / growth) * growth);
    for (const port of decoder.cache) {
      for (const part of ['keys', 'values'] as const) {
        const [from, to] = [port.past[part], port.present[part]];
        const larger = zeros(dtype, [count, port.kvHeads, wider, port.headDim]);
        const held = past[from];
        if (held !== undefined) widen(await runtime.download(held), larger);
        past[from] = present[to] = await runtime.upload(larger, worker);
        if (held !== undefined) await runtime.release(held);
      }
    }
    room = wider;
  };

  /** @param tokens (count, each), flat */
  const run = async (tokens: readonly number[], each: number, kept: number): Promise<Float32Array> => {
    const total = length + each;
    if (total > room) await grow(total);
    const mask = new BigInt64Array(count * total).fill(1n);
    const result = await runtime.run(
      program,
      {
        ...past,
        [portNames.tokens]: int64(tokens, [count, each]),
        // Without attention nothing asks which tokens are there.
        ...(decoder.cache.length > 0 && {
          [portNames.mask]: { dtype: 'int64', shape: [count, total], data: mask },
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
      const each = tokens.length / count;
      if (!Number.isInteger(each) || each === 0 || kept < 1 || kept > each)
        throw new RangeError(`no logits of ${kept} among ${each} tokens`);
      if (count > 1 && length > 0 && each > 1)
        throw new RangeError(`${each} tokens at once to each of ${count} sequences that have begun`);
      if (length + each > capacity)
        throw new RangeError(`${length} and ${each} tokens exceed the sequence's ${capacity}`);
      const parts: Float32Array[] = [];
      const step = count > 1 ? each : runTokens;
      for (let start = 0; start < each; start += step) {
        const end = Math.min(each, start + step);
        const wanted = Math.max(0, end - (each - kept));
        const part = count > 1 ? tokens : tokens.slice(start, end);
        const found = await run(part, end - start, Math.max(1, wanted));
        if (wanted > 0) parts.push(found);
      }
      return parts.length === 1 ? parts[0]! : joined(parts);
    },
    close: async () => runtime.release(...Object.values(past)),
  };
}

/** Copies a cache (count, heads, tokens, width) into one with room for more tokens. */
function widen(from: Tensor, to: Tensor): void {
  const [own, wide] = [from, to].map(({ shape }) => shape[2]! * shape[3]!) as [number, number];
  const [source, target] = [from.data, to.data] as [Float32Array, Float32Array];
  for (let row = 0; row * own < source.length; row++)
    target.set(source.subarray(row * own, (row + 1) * own), row * wide);
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
