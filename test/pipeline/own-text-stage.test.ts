import { mkdtemp, readdir, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { ownTextStage } from '../../src/pipeline/own-text-stage.ts';
import { bundledTeacher, openStore, openTeacher, type Teacher } from '../../src/pipeline/index.ts';
import { silent } from '../../src/util/progress.ts';

let folder: string;
let teacher: Teacher;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'puzzle-own-text-'));
  teacher = await openTeacher(bundledTeacher, { device: 'cpu', threads: 1 });
});
afterAll(async () => {
  await teacher.close();
  await rm(folder, { recursive: true, force: true });
});

test('more of it goes on where less of it ended; purposes share nothing; a stopped run keeps whole batches', async () => {
  const store = await openStore(folder);
  const input = { teacher, window: 8 };
  const batch = 32 * 16;
  const jobs = async (): Promise<number> => (await readdir(join(folder, 'own-text'))).length;
  expect(await ownTextStage(input, {}, store, silent)).toEqual({});
  const less = await ownTextStage(input, { distil: batch, score: 1 }, store, silent);
  expect(await jobs()).toBe(2);
  const more = await ownTextStage(input, { distil: batch + 1, score: 1 }, store, silent);
  expect(await jobs()).toBe(3);
  expect(more.distil!.startsWith(less.distil!)).toBe(true);
  expect(more.score).toBe(less.score);
  expect(less.distil).not.toBe(less.score);
  // Stopped after the first token of a batch: what was whole stays, nothing is half there.
  const stop = new Error('stopped');
  const stopped = ownTextStage(input, { distil: 2 * batch, evaluation: 1 }, store, (event) => {
    if (event.kind === 'advanced') throw stop;
  });
  await expect(stopped).rejects.toBe(stop);
  expect(await jobs()).toBe(3);
  const tokens = (await teacher.checkpoint.tokenizer()).encode(more.distil!);
  expect(tokens.length).toBeGreaterThan(batch);
});
