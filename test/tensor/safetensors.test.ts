import * as fc from 'fast-check';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import {
  float32,
  inMemory,
  openSafetensors,
  openSafetensorsFolder,
  writeSafetensors,
} from '../../src/tensor/index.ts';
import { contentOf, cuts, damages, readsDamaged, temporaryFolder, tensors } from './tensor-files.ts';

const folder = temporaryFolder();
const path = join(folder, 'model.safetensors');

test('what is written is read back', async () => {
  await fc.assert(
    fc.asyncProperty(tensors, async (written) => {
      await writeSafetensors(path, written, { made: 'by a test' });
      const file = await openSafetensors(path);
      expect([...file.tensors.keys()].sort()).toEqual(written.map(({ name }) => name).sort());
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

const sample = [
  inMemory('a', float32(Float32Array.of(1, 2, 3, 4, 5, 6), [2, 3])),
  inMemory('b', float32(Float32Array.of(-1, 0.5), [2]), 'F16'),
];
const sampleBytes = async (): Promise<Uint8Array> => {
  await writeSafetensors(path, sample);
  return contentOf(path);
};

test('the bytes are those of the format', async () => {
  const bytes = Buffer.from(await sampleBytes());
  const header =
    '{"a":{"dtype":"F32","shape":[2,3],"data_offsets":[0,24]},"b":{"dtype":"F16","shape":[2],"data_offsets":[24,28]}}';
  expect(Number(bytes.readBigUInt64LE())).toBe(Math.ceil(header.length / 8) * 8);
  expect(bytes.toString('utf8', 8, 8 + header.length)).toBe(header);
  expect(bytes.subarray(-28)).toEqual(
    Buffer.from('0000803f0000004000004040000080400000a0400000c04000bc0038', 'hex'),
  );
});

test('a cut file is refused with a code', async () => {
  await fc.assert(
    fc.asyncProperty(cuts, async (cut) => {
      expect(
        await readsDamaged(await sampleBytes(), cut, join(folder, 'cut.safetensors'), openSafetensors),
      ).toBe(false);
    }),
    { numRuns: 60 },
  );
});

test('a damaged file is read or refused with a code', async () => {
  await fc.assert(
    fc.asyncProperty(damages, async (damage) => {
      const reading = readsDamaged(
        await sampleBytes(),
        damage,
        join(folder, 'damaged.safetensors'),
        openSafetensors,
      );
      await expect(reading).resolves.toBeTypeOf('boolean');
    }),
    { numRuns: 200 },
  );
});

const withHeader = (header: string, dataBytes: number): string => {
  const text = Buffer.from(header);
  const bytes = Buffer.alloc(8 + text.length + dataBytes);
  bytes.writeBigUInt64LE(BigInt(text.length));
  bytes.set(text, 8);
  const place = join(folder, 'made.safetensors');
  writeFileSync(place, bytes);
  return place;
};
const entry = (dtype: string, shape: number[], offsets: number[]): string =>
  JSON.stringify({ dtype, shape, data_offsets: offsets });

test.each([
  ['a gap', `{"a":${entry('F32', [1], [4, 8])}}`, 8, { code: 'file-invalid' }],
  [
    'an overlap',
    `{"a":${entry('F32', [1], [0, 4])},"b":${entry('F32', [1], [0, 4])}}`,
    4,
    { code: 'file-invalid' },
  ],
  ['bytes left over', `{"a":${entry('F32', [1], [0, 4])}}`, 5, { code: 'file-invalid' }],
  ['a shape that does not fit', `{"a":${entry('F32', [3], [0, 4])}}`, 4, { code: 'file-invalid' }],
  ['an enormous shape', `{"a":${entry('F32', [2 ** 50, 2 ** 50], [0, 4])}}`, 4, { code: 'file-invalid' }],
  ['data missing', `{"a":${entry('F32', [2], [0, 8])}}`, 4, { code: 'file-truncated' }],
  ['integers', `{"a":${entry('I8', [4], [0, 4])}}`, 4, { code: 'unsupported-quantisation' }],
  [
    'a repeated name',
    `{"a":${entry('F32', [1], [0, 4])},"a":${entry('F32', [1], [0, 4])}}`,
    4,
    { code: 'file-invalid' },
  ],
  ['no JSON', '{"a"', 0, { code: 'file-invalid' }],
])('%s is refused', async (_, header, dataBytes, expected) => {
  const place = withHeader(header, dataBytes);
  await expect(openSafetensors(place)).rejects.toMatchObject({
    ...expected,
    context: { at: expect.stringContaining(place) },
  });
});

test('a NaN is refused and named', async () => {
  await writeSafetensors(path, [inMemory('layer.q', float32(Float32Array.of(0, Number.NaN), [2]))]);
  const file = await openSafetensors(path);
  await expect(file.tensors.get('layer.q')!.load()).rejects.toMatchObject({
    code: 'weights-not-finite',
    context: { at: `${path}: layer.q`, details: { index: 1 } },
  });
  await file.close();
});

test('a value beyond F16 is refused, and nothing is left behind', async () => {
  const place = join(folder, 'overflow.safetensors');
  const wide = inMemory('wide', float32(Float32Array.of(1e6), [1]), 'F16');
  await expect(writeSafetensors(place, [wide])).rejects.toMatchObject({ code: 'weights-not-finite' });
  expect(() => readFileSync(place)).toThrow('ENOENT');
});

test('shards are read as one', async () => {
  const shards = temporaryFolder();
  await writeSafetensors(join(shards, 'model-1.safetensors'), [sample[0]!]);
  await writeSafetensors(join(shards, 'model-2.safetensors'), [sample[1]!]);
  const index = (map: Record<string, string>): void =>
    writeFileSync(
      join(shards, 'model.safetensors.index.json'),
      JSON.stringify({ metadata: { total_size: 28 }, weight_map: map }),
    );
  index({ a: 'model-1.safetensors', b: 'model-2.safetensors' });
  const file = await openSafetensorsFolder(shards);
  expect(await file.tensors.get('b')!.load()).toEqual(await sample[1]!.load());
  await file.close();
  index({ a: 'model-2.safetensors' });
  await expect(openSafetensorsFolder(shards)).rejects.toMatchObject({ code: 'file-invalid' });
  index({ a: '../model-1.safetensors' });
  await expect(openSafetensorsFolder(shards)).rejects.toMatchObject({ code: 'file-invalid' });
  index({ a: 'model-3.safetensors' });
  await expect(openSafetensorsFolder(shards)).rejects.toMatchObject({ code: 'file-missing' });
});
