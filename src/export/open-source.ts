/** What to export: a run's folder with its student, a student alone, or any model. */
import { readdir, stat } from 'node:fs/promises';
import { basename, dirname, join, resolve } from 'node:path';
import { z } from 'zod';
import { bundledTeacher, openModel } from '../model/index.ts';
import { openGguf, readText } from '../tensor/index.ts';
import { PuzzleError } from '../util/errors.ts';
import { checkAgainst, parseJson } from '../util/json.ts';
import type { ExportSource, Origin } from './exporter.ts';

/**
 * Opens a run's folder, a student folder, or a model; whoever opens it closes its checkpoint.
 * @param teacherPath where the teacher of a run lies now, if not where it was
 * @throws PuzzleError `run-unfinished`; `file-missing` for no model at all, or a run whose teacher is gone; what
 * `openModel` throws
 */
export async function openExportSource(path: string, teacherPath?: string): Promise<ExportSource> {
  await refuseUnfinished(path);
  const run = await readRun(path);
  const origin = run && (await originOf(run, teacherPath));
  const checkpoint = await openModel(path);
  try {
    const files = await companions(origin === undefined ? path : origin.teacherFolder, origin !== undefined);
    if (origin !== undefined) {
      const picture = await readIfPresent(join(path, 'architecture.svg'));
      if (picture !== undefined) files.set('architecture.svg', picture);
    }
    return { checkpoint, name: nameOf(path), files, ...(origin !== undefined && { origin: origin.origin }) };
  } catch (error) {
    await checkpoint.close();
    throw error;
  }
}

/** What files are called after: the last part of the path, without what an export added to it. */
const nameOf = (path: string): string =>
  basename(resolve(path))
    .replace(/\.gguf$/i, '')
    .replace(/-(?:F32|F16|BF16|Q8_0|Q4_0)$/, '');

/** A search leaves its folder when it ends, so one without a student, or whose place is still empty, never did. */
async function refuseUnfinished(path: string): Promise<void> {
  const folder = resolve(path);
  const exists = await isThere(folder);
  const started = exists
    ? (await isThere(join(folder, 'run.json'))) &&
      !(await isThere(join(folder, 'student', 'architecture.json')))
    : await hasLeftovers(folder);
  if (!started) return;
  throw new PuzzleError(
    'run-unfinished',
    `The search that writes ${path} has not finished: it has no student.`,
    {
      at: path,
      fix: 'Run the same search again; finished jobs are kept.',
    },
  );
}

/** The names under which a folder is written before it is whole (`src/util/atomic-file.ts`, `run-folder.ts`). */
async function hasLeftovers(folder: string): Promise<boolean> {
  const names = await readdir(dirname(folder)).catch(() => []);
  const name = basename(folder);
  return names.some(
    (other) => other === `${name}.new` || (other.startsWith(`.${name}.`) && other.endsWith('.tmp')),
  );
}

const isThere = (path: string): Promise<boolean> =>
  stat(path).then(
    () => true,
    () => false,
  );

async function readIfPresent(path: string): Promise<string | undefined> {
  return (await isThere(path)) ? readText(path) : undefined;
}

/** Loose: what else the file holds is for making the run again. */
const runSchema = z.looseObject({
  schema: z.literal('puzzle/run@1'),
  command: z.string(),
  teacher: z.strictObject({ path: z.string(), identity: z.string() }).exactOptional(),
});

interface Run {
  readonly command: string;
  readonly report: string;
  readonly teacher?: { readonly path: string; readonly identity: string };
}

async function readRun(path: string): Promise<Run | undefined> {
  const at = join(path, 'run.json');
  const text = await readIfPresent(at);
  if (text === undefined) return undefined;
  const fix = 'Run the search again.';
  const { command, teacher } = checkAgainst(runSchema, parseJson(text, at), at, fix);
  return {
    command,
    report: await readText(join(path, 'report.md')),
    ...(teacher !== undefined && { teacher }),
  };
}

/** The teacher says under which licence its student is, and where its texts end. */
async function originOf(
  { command, report, teacher }: Run,
  teacherPath: string | undefined,
): Promise<{ origin: Origin; teacherFolder: string | undefined }> {
  const recorded = teacher?.path === 'bundled' ? bundledTeacher : teacher?.path;
  const path = teacherPath ?? recorded;
  if (path !== undefined && !(await isThere(path))) {
    throw new PuzzleError('file-missing', `The teacher of this run is not at ${path}.`, {
      at: teacherPath === undefined ? 'run.json: teacher: path' : '--teacher',
      value: path,
      fix: "Give --teacher PATH: its licence and generation settings are its student's too.",
    });
  }
  const licence = path === undefined ? undefined : await licenceOf(path);
  const name = path === undefined ? 'a teacher that run.json does not name' : basename(resolve(path));
  return {
    origin: { command, report, teacher: name, ...(licence !== undefined && { licence }) },
    teacherFolder: path,
  };
}

/** What a GGUF file, or the card of a Hugging Face folder, states. */
async function licenceOf(path: string): Promise<string | undefined> {
  if ((await stat(path)).isDirectory()) {
    const card = await readIfPresent(join(path, 'README.md'));
    return card?.match(/^---\n(?:.*\n)*?license: *(\S+)\n(?:.*\n)*?---\n/)?.[1];
  }
  const file = await openGguf(path);
  await file.close();
  const licence = file.metadata.get('general.license');
  return licence?.type === 'string' ? licence.value : undefined;
}

/** Files that a Hugging Face folder has beside its weights and tokenizer; a card of its own only where it is exported itself. */
async function companions(folder: string | undefined, isTeacher: boolean): Promise<Map<string, string>> {
  const wanted = /^(?:generation_config\.json|licen[cs]e(?:\.\w+)?)$/i;
  const own = /^(?:README\.md|architecture\.svg)$/;
  const files = new Map<string, string>();
  if (folder === undefined || !(await stat(folder)).isDirectory()) return files;
  for (const name of (await readdir(folder)).sort()) {
    if (wanted.test(name) || (!isTeacher && own.test(name)))
      files.set(name, await readText(join(folder, name)));
  }
  return files;
}
