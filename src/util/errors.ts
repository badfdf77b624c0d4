/** One error class for everything a user can cause, with stable codes and the process exit code each leads to. */

/** Exit codes of the command line: 0 done, 1 our bug, 2 bad usage or input, 3 infeasible budget, 130 interrupted. */
export type ExitCode = 1 | 2 | 3 | 130;

/**
 * Every stable error code and the exit code it leads to. Codes are part of the public contract:
 * add freely, rename never.
 */
export const errorCodes = {
  'bad-usage': 2,
  'bad-unit': 2,
  'bad-problem': 2,
  'file-missing': 2,
  'file-truncated': 2,
  'file-invalid': 2,
  'unsupported-quantisation': 2,
  'unsupported-model': 2,
  'unsupported-tokenizer': 2,
  'weights-missing': 2,
  'weights-shape': 2,
  'weights-not-finite': 2,
  'tokenizer-mismatch': 2,
  'text-invalid': 2,
  'text-too-short': 2,
  'cannot-express': 2,
  'run-unfinished': 2,
  'not-writable': 2,
  'disk-full': 2,
  busy: 2,
  'device-unavailable': 2,
  'out-of-memory': 2,
  'worker-lost': 1,
  infeasible: 3,
  interrupted: 130,
} as const satisfies Record<string, ExitCode>;

export type ErrorCode = keyof typeof errorCodes;

export interface ErrorContext {
  /** The file, field or flag at fault, most general first: `model.gguf: blk.3.ffn_up.weight`. */
  readonly at?: string;
  /** The offending value, shown as given. */
  readonly value?: unknown;
  /** What the user can do about it, as an imperative sentence. */
  readonly fix?: string;
  /** Machine-readable particulars for `--json` (nearest feasible budgets and the like). */
  readonly details?: Readonly<Record<string, unknown>>;
  readonly cause?: unknown;
}

/** An expected failure. Anything else that is thrown is a bug of ours and keeps its stack trace. */
export class PuzzleError extends Error {
  readonly code: ErrorCode;
  readonly context: ErrorContext;

  constructor(code: ErrorCode, message: string, context: ErrorContext = {}) {
    super(message, context.cause === undefined ? undefined : { cause: context.cause });
    this.name = 'PuzzleError';
    this.code = code;
    this.context = context;
  }

  get exitCode(): ExitCode {
    return errorCodes[this.code];
  }

  /** The `error` member of a `--json` document. */
  toJSON(): Record<string, unknown> {
    const { at, value, fix, details } = this.context;
    return {
      code: this.code,
      message: this.message,
      ...(at === undefined ? {} : { at }),
      ...(value === undefined ? {} : { value }),
      ...(fix === undefined ? {} : { fix }),
      ...(details === undefined ? {} : { details }),
    };
  }
}
