import { readdir, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { loadProfile } from '../../src/hardware/index.ts';

const folder = new URL('../../hardware-profiles/', import.meta.url).pathname;

test('every shipped profile is well formed and small', async () => {
  const files = await readdir(folder);
  expect(files.length).toBeGreaterThan(10);
  for (const file of files) {
    const path = join(folder, file);
    loadProfile(path); // refuses whatever the schema does
    expect((await stat(path)).size).toBeLessThanOrEqual(150 * 1024);
  }
});
