/** Arbitrary tensors and damaged files for the tests of file formats. */
import * as fc from 'fast-check';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll } from 'vitest';
import {
  elementCount,
  float32,
  inMemory,
  type StoredTensor,
  type TensorFile,
} from '../../src/tensor/index.ts';
import { PuzzleError } from '../../src/util/errors.ts';

/** A folder that is removed after the tests of the file. */
export function temporaryFolder(): string {
  const folder = mkdtempSync(join(tmpdir(), 'puzzle-test-'));
  afterAll(() => rmSync(folder, { recursive: true, force: true }));
  return folder;
}

/** Distinctly named tensors whose elements every float encoding represents exactly. */
export const tensors = fc
  .uniqueArray(
    fc.record({
      name: fc
        .string({ minLength: 1, maxLength: 12, unit: 'grapheme' })
        .filter((name) => name !== '__metadata__'),
      shape: fc.array(fc.nat(5), { maxLength: 4 }),
      encoding: fc.constantFrom('F32', 'F16', 'BF16'),
      first: fc.integer({ min: -60, max: 60 }),
    }),
    { selector: ({ name }) => name, maxLength: 6 },
  )
  .map((all) =>
    all.map(({ name, shape, encoding, first }): StoredTensor => {
      const data = Float32Array.from({ length: elementCount(shape) }, (_, i) => (first + (i % 60)) / 4);
      return inMemory(name, float32(data, shape), encoding);
    }),
  );

/** Writes `bytes` with one damage done, opens it, loads everything; true if all of it could be read. */
export async function readsDamaged(
  bytes: Uint8Array,
  damage: Damage,
  path: string,
  open: (path: string) => Promise<TensorFile>,
): Promise<boolean> {
  const copy = Buffer.from(bytes);
  const at = Math.floor(damage.where * copy.length);
  if (damage.kind === 'flip') copy[at]! ^= 1 << damage.bit;
  if (damage.kind === 'blot') copy.subarray(at, at + 8).fill(0xff);
  writeFileSync(path, damage.kind === 'cut' ? copy.subarray(0, at) : copy);
  try {
    const file = await open(path);
    try {
      for (const tensor of file.tensors.values()) await tensor.load();
    } finally {
      await file.close();
    }
    return true;
  } catch (error) {
    if (error instanceof PuzzleError) return false;
    throw error;
  }
}

type Damage =
  | { readonly kind: 'cut' | 'blot'; readonly where: number }
  | { readonly kind: 'flip'; readonly where: number; readonly bit: number };

const where = fc.double({ min: 0, max: 1, maxExcluded: true, noNaN: true });
export const cuts: fc.Arbitrary<Damage> = fc.record({ kind: fc.constant('cut'), where });
export const damages: fc.Arbitrary<Damage> = fc.oneof(
  fc.record({ kind: fc.constant('flip'), where, bit: fc.nat(7) }),
  fc.record({ kind: fc.constant('blot'), where }),
);

export const contentOf = (path: string): Uint8Array => readFileSync(path);
