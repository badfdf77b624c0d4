import { mkdtemp, mkdir, readFile, readdir, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { explainingFailure, writeFileAtomically, writeFolderAtomically } from '../../src/util/atomic-file.ts';

const scratch = (): Promise<string> => mkdtemp(join(tmpdir(), 'puzzle-atomic-'));

test('a folder whose filling fails leaves nothing', async () => {
  const home = await scratch();
  const filling = writeFolderAtomically(join(home, 'out'), async (folder) => {
    await writeFile(join(folder, 'half'), 'written');
    throw new Error('stopped');
  });
  await expect(filling).rejects.toThrow('stopped');
  expect(await readdir(home)).toEqual([]);
});

test('of two writers of one folder the first wins and the second succeeds too', async () => {
  const home = await scratch();
  const write = (text: string): Promise<void> =>
    writeFolderAtomically(join(home, 'out'), (folder) => writeFile(join(folder, 'file'), text));
  await write('first');
  await write('second');
  expect(await readFile(join(home, 'out', 'file'), 'utf8')).toBe('first');
  expect(await readdir(home)).toEqual(['out']);
});

test('a target that cannot be written is a coded error that names it', async () => {
  const home = await scratch();
  await writeFile(join(home, 'file'), '');
  await mkdir(join(home, 'folder'));
  await expect(writeFileAtomically(join(home, 'file', 'below'), '')).rejects.toMatchObject({
    code: 'not-writable',
  });
  await expect(writeFileAtomically(join(home, 'folder'), '')).rejects.toMatchObject({ code: 'not-writable' });
});

test.runIf(process.platform === 'linux')('a full disk is a coded error', async () => {
  await expect(explainingFailure('/dev/full', () => writeFile('/dev/full', 'x'))).rejects.toMatchObject({
    code: 'disk-full',
  });
});
