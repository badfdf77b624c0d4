/** A content-addressed store of finished jobs: the same inputs are never computed twice, a kill loses only jobs in flight. */
import { access, mkdir, readFile, readdir, rm, stat, writeFile } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { explainingFailure, writeFolderAtomically } from '../util/atomic-file.ts';
import { hashOf, type Json } from '../util/hash.ts';

/** What a job is: everything that can change its result. Its hash names its folder. */
export interface JobDescription {
  /** Which stage, and the version of its algorithm: raised when the same inputs give another result. */
  readonly stage: string;
  readonly version: number;
  readonly inputs: Json;
}

export interface FinishedJob {
  readonly key: string;
  /** Holds the job's output files, and `job.json`, its description. */
  readonly folder: string;
  /** Whether it was there already. */
  readonly reused: boolean;
}

export interface Store {
  readonly root: string;
  keyOf(description: JobDescription): string;
  /** The finished job, or undefined. */
  find(description: JobDescription): Promise<FinishedJob | undefined>;
  /** The finished job; `compute` fills a temporary folder when it is not there yet. */
  run(description: JobDescription, compute: (folder: string) => Promise<void>): Promise<FinishedJob>;
}

/** Temporary folders older than this belong to no living process. */
const leftoverAgeMs = 24 * 3600 * 1000;

/**
 * Opens (and creates) the store under `root`. Throws `not-writable` or `disk-full`.
 * Any number of processes may use one store at once: folders appear whole, by rename.
 */
export async function openStore(root: string): Promise<Store> {
  const home = resolve(root);
  await explainingFailure(home, () => mkdir(home, { recursive: true }));
  await removeLeftovers(home);
  const keyOf = (description: JobDescription): string => hashOf({ ...description });
  const folderOf = (description: JobDescription): string =>
    join(home, description.stage, keyOf(description).slice(0, 32));

  const find: Store['find'] = async (description) => {
    const folder = folderOf(description);
    return (await exists(join(folder, 'job.json')))
      ? { key: keyOf(description), folder, reused: true }
      : undefined;
  };
  return {
    root: home,
    keyOf,
    find,
    async run(description, compute) {
      const finished = await find(description);
      if (finished !== undefined) return finished;
      const folder = folderOf(description);
      await writeFolderAtomically(folder, async (temporary) => {
        await compute(temporary);
        await writeFile(join(temporary, 'job.json'), `${JSON.stringify(description, null, 1)}\n`);
      });
      return { key: keyOf(description), folder, reused: false };
    },
  };
}

/** Reads a JSON file of a finished job. */
export const readJobJson = async (job: FinishedJob, name: string): Promise<unknown> =>
  JSON.parse(await readFile(join(job.folder, name), 'utf8'));

async function removeLeftovers(home: string): Promise<void> {
  for (const stage of await readdir(home)) {
    const folder = join(home, stage);
    if (!(await stat(folder)).isDirectory()) continue;
    for (const name of await readdir(folder)) {
      if (!name.endsWith('.tmp')) continue;
      const path = join(folder, name);
      const found = await stat(path).catch(() => undefined);
      if (found !== undefined && Date.now() - found.mtimeMs > leftoverAgeMs)
        await rm(path, { recursive: true, force: true });
    }
  }
}

const exists = (path: string): Promise<boolean> =>
  access(path).then(
    () => true,
    () => false,
  );
