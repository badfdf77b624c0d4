/** One export: checks what was asked, writes into a temporary folder, renames it when everything is there. */
import { readdir, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { writeFolderAtomically } from '../util/atomic-file.ts';
import { PuzzleError } from '../util/errors.ts';
import { silent, type ReportProgress } from '../util/progress.ts';
import { blockOf } from '../blocks/index.ts';
import type { Architecture } from '../model/index.ts';
import type { ExportDtype, ExportedModel, Exporter, ExportSource } from './exporter.ts';
import { formats, type ExportFormat } from './formats.ts';

export interface ExportRequest {
  readonly format: ExportFormat;
  /** Where the files go: a folder that does not exist yet, or an empty one. */
  readonly out: string;
  readonly dtype?: ExportDtype | undefined;
  readonly dialect?: string | undefined;
  readonly shardBytes?: number | undefined;
  readonly report?: ReportProgress;
}

export interface ExportReceipt extends ExportedModel {
  readonly format: ExportFormat;
  readonly dtype: ExportDtype;
  readonly out: string;
  readonly files: readonly { readonly name: string; readonly bytes: number }[];
}

/** What Hugging Face's own tools split at. */
const defaultShardBytes = 5e9;

/**
 * Writes a model in a format. The folder appears whole or not at all.
 * @throws PuzzleError `bad-usage` for a dtype or dialect that the format lacks; `cannot-express` naming layer, block and
 * the formats that can; `not-writable` where `out` holds something already; what `Exporter.write` throws
 */
export async function exportModel(source: ExportSource, request: ExportRequest): Promise<ExportReceipt> {
  const { format, out, dialect, shardBytes = defaultShardBytes, report = silent } = request;
  const exporter = formats[format];
  const dtype = request.dtype ?? exporter.dtypes[0]!;
  requireKnown('--dtype', dtype, exporter.dtypes, format);
  if (dialect !== undefined) requireKnown('--dialect', dialect, exporter.dialects, format);
  requireExpressible(source.checkpoint.architecture, format, dialect);
  await requireVacant(out);
  return writeFolderAtomically(out, async (folder) => {
    const exported = await exporter.write(source, folder, { dtype, dialect, shardBytes, report });
    return { ...exported, format, dtype, out, files: await sizes(folder) };
  });
}

function requireKnown(flag: string, value: string, known: readonly string[], format: ExportFormat): void {
  if (known.includes(value)) return;
  throw new PuzzleError('bad-usage', `${flag} ${value} is nothing that --format ${format} has.`, {
    at: flag,
    value,
    fix: known.length === 0 ? `Leave ${flag} out.` : `Use one of ${known.join(', ')}.`,
  });
}

function requireExpressible(
  architecture: Architecture,
  format: ExportFormat,
  dialect: string | undefined,
): void {
  const refusal = formats[format].refuses(architecture, dialect);
  if (refusal === undefined) return;
  const { slot, reason } = refusal;
  const able = waysToExpress(architecture);
  throw new PuzzleError(
    'cannot-express',
    `${dialect ?? format} cannot express the ${blockOf(slot.block).label(slot.block)} ${slot.kind} of layer ${slot.layer}: ${reason}.`,
    {
      at: `layer ${slot.layer}: ${slot.kind}`,
      value: slot.block,
      fix: able.length === 0 ? 'Search without this block.' : `Use ${able.join(', or ')}.`,
      details: { layer: slot.layer, slot: slot.kind, block: slot.block, formats: able },
    },
  );
}

/** The flags under which the whole model can be written. */
const waysToExpress = (architecture: Architecture): string[] =>
  Object.entries(formats as Record<string, Exporter>).flatMap(([format, { dialects, refuses }]) =>
    (dialects.length === 0 ? [undefined] : dialects)
      .filter((dialect) => refuses(architecture, dialect) === undefined)
      .map((dialect) => `--format ${format}${dialect === undefined ? '' : ` --dialect ${dialect}`}`),
  );

async function requireVacant(out: string): Promise<void> {
  const found = await stat(out).catch(() => undefined);
  if (found === undefined || (found.isDirectory() && (await readdir(out)).length === 0)) return;
  throw new PuzzleError('not-writable', `${out} exists already.`, {
    at: out,
    fix: 'Choose another folder, or remove this one.',
  });
}

async function sizes(folder: string): Promise<ExportReceipt['files']> {
  const names = (await readdir(folder)).sort();
  return Promise.all(names.map(async (name) => ({ name, bytes: (await stat(join(folder, name))).size })));
}
