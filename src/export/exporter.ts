/** What an export is: an open model in, the files of one format out. A format is one file and one line in `formats.ts`. */
import type { Architecture, Checkpoint, Slot } from '../model/index.ts';
import type { ReportProgress } from '../util/progress.ts';

/** How elements of matrices are stored; not every format has all. */
export const exportDtypes = ['f32', 'f16', 'bf16', 'q8_0', 'q4_0'] as const;
export type ExportDtype = (typeof exportDtypes)[number];

/** A model to export, and what is known of how it was made. */
export interface ExportSource {
  readonly checkpoint: Checkpoint;
  /** What its files are called after. */
  readonly name: string;
  /** How it came to be, of a student. */
  readonly origin?: Origin;
  /** Text files that belong beside the weights where the format is a folder for people, by name. */
  readonly files: ReadonlyMap<string, string>;
}

/** What a finished search says of its student. */
export interface Origin {
  /** The command that made it. */
  readonly command: string;
  /** report.md: budgets, per-layer table, scores and results with their intervals. */
  readonly report: string;
  /** What the teacher is called. */
  readonly teacher: string;
  /** The licence that the teacher's own card states, as an SPDX-like id. */
  readonly licence?: string;
}

export interface ExportOptions {
  readonly dtype: ExportDtype;
  /** A dialect of the format; by default the plainest that can express the model. */
  readonly dialect?: string | undefined;
  /** Most bytes of one weights file, for formats that split them. */
  readonly shardBytes: number;
  readonly report: ReportProgress;
}

export interface ExportedModel {
  /** What software takes the files for: `LlamaForCausalLM`, `deci`, ... */
  readonly architecture: string;
  /** The dialect that was chosen, of a format that has several. */
  readonly dialect?: string;
  /** What the reader should know: how blocks were expressed that the format has no word for. */
  readonly notes: readonly string[];
}

/** The first block that a format has no words for. */
export interface Refusal {
  readonly slot: Slot;
  /** Completes "cannot express this block: ...". */
  readonly reason: string;
}

export interface Exporter {
  readonly describe: string;
  /** The first is the default. */
  readonly dtypes: readonly ExportDtype[];
  readonly dialects: readonly string[];
  /** What keeps the format, or the given dialect of it, from expressing a model exactly; undefined where it can. */
  refuses(architecture: Architecture, dialect?: string): Refusal | undefined;
  /**
   * Writes the files of a model that `refuses` nothing of into `folder`, an empty temporary folder that the caller
   * renames at the end, so a failure may leave anything in it. Holds one tensor at a time.
   * @throws PuzzleError `weights-not-finite`, `disk-full`, `not-writable`
   */
  write(source: ExportSource, folder: string, options: ExportOptions): Promise<ExportedModel>;
}
