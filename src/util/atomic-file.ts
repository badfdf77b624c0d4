/** Files and folders that appear whole or not at all: written under a temporary name, then renamed. */
import { randomUUID } from 'node:crypto';
import { rmSync } from 'node:fs';
import { mkdir, open, rename, rm, type FileHandle } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { PuzzleError } from './errors.ts';

/** Writes a whole file. Throws `not-writable` or `disk-full`; an older file of that name stays as it was. */
export const writeFileAtomically = (path: string, content: string | Uint8Array): Promise<void> =>
  streamFileAtomically(path, (file) => file.writeFile(content));

/**
 * Writes a file piece by piece through `fill`, whose `file.writeFile(piece)` goes on where the last one ended.
 * Throws `not-writable` or `disk-full`; an older file of that name stays as it was.
 */
export async function streamFileAtomically(
  path: string,
  fill: (file: FileHandle) => Promise<void>,
): Promise<void> {
  const temporary = temporaryNameFor(path);
  await explainingFailure(path, async () => {
    try {
      await mkdir(dirname(path), { recursive: true });
      const file = await open(temporary, 'w');
      try {
        await fill(file);
      } finally {
        await file.close();
      }
      await rename(temporary, path);
    } catch (error) {
      await rm(temporary, { force: true });
      throw error;
    } finally {
      unfinished.delete(temporary);
    }
  });
}

/**
 * Fills a folder through `fill(temporaryFolder)` and renames it to `path`. Where `path` came to exist meanwhile
 * (another process did the same work), that one is kept and this one dropped.
 * Throws `not-writable` or `disk-full`.
 */
export async function writeFolderAtomically<T>(
  path: string,
  fill: (folder: string) => Promise<T>,
): Promise<T> {
  const temporary = temporaryNameFor(path);
  return explainingFailure(path, async () => {
    try {
      await mkdir(temporary, { recursive: true });
      const result = await fill(temporary);
      try {
        await rename(temporary, path);
      } catch (error) {
        if (!isCode(error, 'ENOTEMPTY', 'EEXIST')) throw error;
      }
      return result;
    } finally {
      await rm(temporary, { recursive: true, force: true });
      unfinished.delete(temporary);
    }
  });
}

/** Hidden, beside the target (a rename must not cross file systems), and recognisable as ours when left over. */
function temporaryNameFor(path: string): string {
  const name = join(dirname(path), `.${basename(path)}.${randomUUID().slice(0, 8)}.tmp`);
  if (!cleansUp) {
    cleansUp = true;
    process.on('exit', () => {
      for (const left of unfinished) rmSync(left, { recursive: true, force: true });
    });
  }
  unfinished.add(name);
  return name;
}

/** What is being written: removed when the process ends in the middle, by Ctrl-C for one. */
const unfinished = new Set<string>();
let cleansUp = false;

/** Runs file work on `path`; the operating system's refusals become coded errors. */
export async function explainingFailure<T>(path: string, work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (error) {
    if (isCode(error, 'ENOSPC', 'EDQUOT')) {
      throw new PuzzleError('disk-full', `No space left while writing ${path}.`, {
        at: path,
        fix: 'Free some space and run the same command again: finished jobs are kept.',
        cause: error,
      });
    }
    if (isCode(error, 'EACCES', 'EPERM', 'EROFS', 'ENOTDIR', 'EISDIR')) {
      throw new PuzzleError('not-writable', `Cannot write ${path}.`, {
        at: path,
        fix: 'Choose a folder that you may write to.',
        cause: error,
      });
    }
    throw error;
  }
}

const isCode = (error: unknown, ...codes: readonly string[]): boolean =>
  error instanceof Error && codes.includes((error as NodeJS.ErrnoException).code ?? '');
