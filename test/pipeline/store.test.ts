import { mkdtemp, readFile, readdir, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { openStore, type JobDescription } from '../../src/pipeline/store.ts';

const scratch = (): Promise<string> => mkdtemp(join(tmpdir(), 'puzzle-store-'));
const job = (layer: number): JobDescription => ({ stage: 'distil', version: 1, inputs: { layer } });

test('a finished job is not computed again, another job is', async () => {
  const store = await openStore(await scratch());
  let computed = 0;
  const compute = async (folder: string): Promise<void> => {
    computed++;
    await writeFile(join(folder, 'result'), String(computed));
  };
  const first = await store.run(job(0), compute);
  const again = await store.run(job(0), compute);
  await store.run(job(1), compute);
  expect(computed).toBe(2);
  expect([first.reused, again.reused]).toEqual([false, true]);
  expect(await readFile(join(again.folder, 'result'), 'utf8')).toBe('1');
});

test('a job that fails is not there, and can be done later', async () => {
  const store = await openStore(await scratch());
  const failing = store.run(job(0), async (folder) => {
    await writeFile(join(folder, 'half'), '');
    throw new Error('killed');
  });
  await expect(failing).rejects.toThrow('killed');
  expect(await store.find(job(0))).toBeUndefined();
  expect(await readdir(join(store.root, 'distil'))).toEqual([]);
  expect((await store.run(job(0), async () => {})).reused).toBe(false);
});

test('the version of the algorithm is part of the key', async () => {
  const store = await openStore(await scratch());
  expect(store.keyOf({ ...job(0), version: 2 })).not.toBe(store.keyOf(job(0)));
});

test('a store where a file stands is a coded error', async () => {
  const home = await scratch();
  await writeFile(join(home, 'file'), '');
  await expect(openStore(join(home, 'file', 'store'))).rejects.toMatchObject({ code: 'not-writable' });
});
