import fc from 'fast-check';
import { expect, test } from 'vitest';
import { closeDecoder, openDecoder, openSequences } from '../../src/generate/index.ts';
import { quantise } from '../../src/generate/quantised.ts';
import { openRuntime } from '../../src/runtime/index.ts';
import { float32 } from '../../src/tensor/index.ts';
import { randomSource } from '../execution/small-model.ts';
import { heterogeneous } from './served-model.ts';

type Format = 'q8' | 'q4';

/** The values that blocks and scales stand for. */
function restored(data: Float32Array, format: Format): Float32Array {
  const { blocks, scales } = quantise(float32(data, [1, data.length]), format);
  return Float32Array.from(data, (_, i) => {
    const stored =
      format === 'q8' ? blocks.data[i]! - 128 : ((blocks.data[i >> 1]! >> (4 * (i & 1))) & 15) - 8;
    return stored * scales.data[i >> 5]!;
  });
}

test.each(['q8', 'q4'] as const)(
  '%s: no value is further off than its step, and a second time changes nothing',
  (format) => {
    const values = fc.array(fc.integer({ min: -1000, max: 1000 }), { minLength: 64, maxLength: 64 });
    fc.assert(
      fc.property(values, (numbers) => {
        const data = Float32Array.from(numbers, (number) => number / 64);
        const found = restored(data, format);
        for (const block of [0, 32]) {
          const largest = Math.max(...data.subarray(block, block + 32).map(Math.abs));
          const step = largest / (format === 'q8' ? 127 : 8);
          for (let i = block; i < block + 32; i++)
            expect(Math.abs(found[i]! - data[i]!)).toBeLessThanOrEqual(1.01 * step);
        }
        restored(found, format).forEach((value, i) => expect(value).toBeCloseTo(found[i]!, 4));
      }),
      { numRuns: 30 },
    );
  },
);

test('a decoder in four bits computes with the values that its blocks stand for; in eight bits nearly so', async () => {
  const runtime = await openRuntime({ device: 'cpu', threads: 1 });
  const source = randomSource(heterogeneous, 5);
  const tokens = Array.from({ length: 12 }, (_, i) => (i * 7) % 50);
  const logitsOf = async (from: typeof source, weights: 'f32' | Format): Promise<Float32Array> => {
    const decoder = await openDecoder(from, runtime, { weights });
    const sequence = await openSequences(decoder, 16);
    const logits = await sequence.append(tokens, tokens.length);
    await sequence.close();
    await closeDecoder(decoder);
    return logits;
  };
  for (const [format, within] of [
    ['q4', 1e-3],
    ['q8', 0.3],
  ] as const) {
    const rounded: typeof source = {
      architecture: source.architecture,
      async streamWeight(name) {
        const tensor = await source.streamWeight(name);
        return name === 'head' ? float32(restored(tensor.data, format), tensor.shape) : tensor;
      },
      async blockWeights(slot) {
        const entries = Object.entries(await source.blockWeights(slot)).map(([name, tensor]) => {
          const isBlocks = tensor.shape.length === 2 && tensor.shape[1]! % 32 === 0;
          return [name, isBlocks ? float32(restored(tensor.data, format), tensor.shape) : tensor] as const;
        });
        return Object.fromEntries(entries);
      },
    };
    const [found, expected] = [await logitsOf(source, format), await logitsOf(rounded, 'f32')];
    const size = Math.sqrt(expected.reduce((sum, value) => sum + value * value, 0) / expected.length);
    const error = Math.sqrt(
      found.reduce((sum, value, i) => sum + (value - expected[i]!) ** 2, 0) / found.length,
    );
    expect(error / size, format).toBeLessThan(within);
    const plain = await logitsOf(source, 'f32');
    expect(plain.some((value, i) => Math.abs(value - found[i]!) > 1e-3)).toBe(true); // so it is quantised
  }
  await runtime.close();
});
