import * as fc from 'fast-check';
import { existsSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import {
  float32,
  inMemory,
  openGguf,
  writeGguf,
  type GgufMetadata,
  type GgufValue,
} from '../../src/tensor/index.ts';
import { contentOf, cuts, damages, readsDamaged, temporaryFolder, tensors } from './tensor-files.ts';

const folder = temporaryFolder();
const path = join(folder, 'model.gguf');

const metadata: GgufMetadata = new Map<string, GgufValue>([
  ['general.architecture', { type: 'string', value: 'llama' }],
  ['a.uint8', { type: 'uint8', value: 255 }],
  ['a.int8', { type: 'int8', value: -128 }],
  ['a.uint16', { type: 'uint16', value: 65535 }],
  ['a.int16', { type: 'int16', value: -5 }],
  ['a.uint32', { type: 'uint32', value: 2 ** 32 - 1 }],
  ['a.int32', { type: 'int32', value: -7 }],
  ['a.float32', { type: 'float32', value: 0.5 }],
  ['a.float64', { type: 'float64', value: 0.1 }],
  ['a.bool', { type: 'bool', value: true }],
  ['a.uint64', { type: 'uint64', value: 2n ** 63n }],
  ['a.int64', { type: 'int64', value: -9n }],
  ['a.strings', { type: 'array', items: 'string', value: ['a', '', 'Ġé'] }],
  ['a.numbers', { type: 'array', items: 'int32', value: [1, -1] }],
]);

test('what is written is read back', async () => {
  await fc.assert(
    fc.asyncProperty(tensors, async (written) => {
      await writeGguf(path, metadata, written);
      const file = await openGguf(path);
      expect(file.metadata).toEqual(metadata);
      expect([...file.tensors.keys()]).toEqual(written.map(({ name }) => name));
      for (const { name, shape, encoding, load } of written) {
        const stored = file.tensors.get(name)!;
        expect(stored).toMatchObject({ shape, encoding });
        expect(await stored.load()).toEqual(await load());
      }
      await file.close();
    }),
    { numRuns: 50 },
  );
});

test('headers of any length', async () => {
  // Around 64 KiB, where the writer's buffer first grows, at every place of an item.
  for (const length of [65_300, 65_301, 65_302, 65_303, 65_304, 65_305, 65_306, 65_307, 200_000]) {
    const long = new Map<string, GgufValue>([
      ['general.name', { type: 'string', value: 'x'.repeat(length) }],
      ['many', { type: 'array', items: 'int32', value: Array.from({ length: 60 }, (_, i) => i - 30) }],
      ...metadata,
    ]);
    await writeGguf(path, long, []);
    const file = await openGguf(path);
    expect(file.metadata).toEqual(long);
    await file.close();
  }
});

const sample = [
  inMemory('a', float32(Float32Array.of(1, 2, 3, 4, 5, 6), [2, 3])),
  inMemory('b', float32(Float32Array.of(-1, 0.5), [2]), 'F16'),
];
const sampleBytes = async (): Promise<Uint8Array> => {
  await writeGguf(path, metadata, sample);
  return contentOf(path);
};

test('a cut file is refused with a code', async () => {
  await fc.assert(
    fc.asyncProperty(cuts, async (cut) => {
      // The last tensor's padding may be missing without loss.
      const bytes = await sampleBytes();
      const content = bytes.subarray(0, bytes.length - 28);
      expect(await readsDamaged(content, cut, join(folder, 'cut.gguf'), openGguf)).toBe(false);
    }),
    { numRuns: 100 },
  );
});

test('a damaged file is read or refused with a code', async () => {
  await fc.assert(
    fc.asyncProperty(damages, async (damage) => {
      const reading = readsDamaged(await sampleBytes(), damage, join(folder, 'damaged.gguf'), openGguf);
      await expect(reading).resolves.toBeTypeOf('boolean');
    }),
    { numRuns: 400 },
  );
});

test.each([
  ['another format', Buffer.from('PK\u0003\u0004 and more of it'), 'file-invalid'],
  ['version 1', Buffer.from('GGUF\u0001\0\0\0'.padEnd(40, '\0')), 'file-invalid'],
  ['a big-endian file', Buffer.from('GGUF\0\0\0\u0003'.padEnd(40, '\0')), 'file-invalid'],
  ['an empty file', Buffer.alloc(0), 'file-truncated'],
])('%s is refused', async (_, bytes, code) => {
  const place = join(folder, 'made.gguf');
  writeFileSync(place, bytes);
  await expect(openGguf(place)).rejects.toMatchObject({
    code,
    context: { at: expect.stringContaining(place) },
  });
});

test('a tensor type that is not decoded is named', async () => {
  const place = join(folder, 'iq.gguf');
  await writeGguf(place, new Map(), [inMemory('blk.0.ffn_up.weight', float32(new Float32Array(256), [256]))]);
  const bytes = Buffer.from(contentOf(place));
  bytes.writeUInt32LE(23, 24 + 8 + 'blk.0.ffn_up.weight'.length + 4 + 8);
  writeFileSync(place, bytes);
  await expect(openGguf(place)).rejects.toMatchObject({
    code: 'unsupported-quantisation',
    context: { at: `${place}: blk.0.ffn_up.weight`, value: 'IQ4_XS' },
  });
});

test('missing files and folders are refused', async () => {
  await expect(openGguf(join(folder, 'absent.gguf'))).rejects.toMatchObject({ code: 'file-missing' });
  await expect(openGguf(folder)).rejects.toMatchObject({ code: 'file-invalid' });
});

const real = '../shared/models/SmolLM2-135M-Instruct.Q4_1.gguf';
test.skipIf(!existsSync(real))(
  `a real file: ${existsSync(real) ? real : `skipped, there is no ${real}`}`,
  async () => {
    const file = await openGguf(real);
    expect(file.metadata.get('llama.block_count')).toEqual({ type: 'uint32', value: 30 });
    expect(file.tensors.get('blk.0.ffn_down.weight')).toMatchObject({ shape: [576, 1536], encoding: 'Q4_1' });
    // First elements as the Python package `gguf` 0.19 dequantises them.
    const { data } = await file.tensors.get('blk.3.ffn_down.weight')!.load();
    expect(Array.from(data.subarray(0, 3))).toEqual([0.08203125, -0.24609375, -0.15234375]);
    await file.close();
  },
);
