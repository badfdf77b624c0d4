/** `results/<run>/`: everything a finished search leaves behind, written whole or not at all. */
import { rename, rm, writeFile } from 'node:fs/promises';
import { basename, join, resolve } from 'node:path';
import { formatArchitecture } from '../model/index.ts';
import {
  batchDocuments,
  searchResultDocument,
  toProblemFile,
  type SearchResultDocument,
} from '../search/index.ts';
import { explainingFailure, writeFolderAtomically } from '../util/atomic-file.ts';
import { hashOf, type Json } from '../util/hash.ts';
import { architecturePicture } from './picture.ts';
import { picturedLayers, reportOf } from './report.ts';
import type { SearchOutcome } from './search-run.ts';
import { saveCandidate } from './student-stage.ts';

/** What `run.json` states: enough to make the same run again. */
export interface RunRecord {
  readonly command: string;
  readonly versions: Readonly<Record<string, string>>;
  /** The request as resolved: paths, workload, budgets, options, seed. */
  readonly request: Json;
}

/** Where the teacher lies, and what it is; the bundled one lies wherever this package does. */
const teacherRecord = ({ prepared }: SearchOutcome): Json => {
  const { checkpoint, isBundled } = prepared.teacher;
  return { path: isBundled ? 'bundled' : resolve(checkpoint.path), identity: checkpoint.identity };
};

/** The name of a run: what it is about, and a hash of its exact inputs, so that other inputs make another folder. */
export function runName({ prepared, hardware }: SearchOutcome, { request }: RunRecord): string {
  const { checkpoint, isBundled } = prepared.teacher;
  const model = isBundled ? 'bundled' : basename(checkpoint.path).replace(/\.gguf$/i, '');
  return [
    model,
    hardware.name.replaceAll('/', '-'),
    hashOf({ teacher: checkpoint.identity, request }).slice(0, 8),
  ].join('_');
}

/** The document of `--json` and of `result.json`. */
export function runDocument({
  scenario,
  solution,
  others,
  batches,
  workload,
  budgets,
  students,
  scoring,
  path,
  training,
  refit,
}: SearchOutcome): SearchResultDocument & {
  readonly students: readonly Json[];
  readonly scoring: Json;
  readonly path: readonly Json[];
  readonly training?: Json;
  readonly refit?: Json;
  readonly batch: number;
  readonly batches?: Json;
} {
  return {
    ...searchResultDocument(scenario, [solution, ...others], budgets),
    batch: workload.batch,
    ...(batches && { batches: batchDocuments(batches).map((row) => ({ ...row })) }),
    students: students.map(({ name, evaluations }) => ({
      name,
      evaluations: evaluations as unknown as Json,
    })),
    scoring: { ...scoring },
    path: path.map(({ name, predicted, measured, accepted }) => ({
      name,
      predicted,
      measured: { ...measured },
      accepted,
    })),
    ...(training && { training: training as unknown as Json }),
    ...(refit && { refit: { ...refit, before: { ...refit.before }, after: { ...refit.after } } }),
  };
}

/**
 * Writes the folder; an older one of the same name is replaced once the new one is complete.
 * @throws PuzzleError `not-writable`, `disk-full`
 */
export async function writeRunFolder(
  folder: string,
  outcome: SearchOutcome,
  record: RunRecord,
): Promise<void> {
  const { prepared, scenario, solution, limits, library } = outcome;
  const { teacher, alternatives, texts, options } = prepared;
  const title = `${basename(folder)}: ${scenario.problem.objective.metric} ${solution.value.toPrecision(3)}`;
  const architecture = {
    stream: teacher.checkpoint.architecture.stream,
    slots: teacher.checkpoint.architecture.slots.map((slot, index) => ({
      ...slot,
      block: alternatives[index]![solution.choice[index]!]!,
    })),
  };
  const files: Readonly<Record<string, string>> = {
    'architecture.json': formatArchitecture(architecture),
    'report.md': reportOf(outcome, record.command),
    'architecture.svg': architecturePicture(picturedLayers(outcome), title),
    'result.json': json(runDocument(outcome)),
    'problem.json': json(
      toProblemFile(
        scenario,
        limits.map(({ measure, value }) => ({ measure: measure.name, limit: value })),
      ),
    ),
    'run.json': json({ schema: 'puzzle/run@1', ...record, teacher: teacherRecord(outcome) }),
  };
  const target = resolve(folder);
  const fresh = `${target}.new`;
  await explainingFailure(fresh, () => rm(fresh, { recursive: true, force: true }));
  await writeFolderAtomically(fresh, async (temporary) => {
    for (const [name, content] of Object.entries(files)) await writeFile(join(temporary, name), content);
    const stage = { teacher, alternatives, library, texts: texts.evaluation, device: options.device };
    await saveCandidate(
      stage,
      { choice: solution.choice, weights: outcome.weights },
      join(temporary, 'student'),
    );
  });
  await explainingFailure(target, async () => {
    await rm(target, { recursive: true, force: true });
    await rename(fresh, target);
  });
}

const json = (content: unknown): string => `${JSON.stringify(content, null, 1)}\n`;
