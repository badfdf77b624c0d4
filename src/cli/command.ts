/** What a command is: yargs options on one side, a typed run on the other, one way out for its result. */
import type { ArgumentsCamelCase, Argv } from 'yargs';
import type { ReportProgress } from '../util/progress.ts';

export interface CommandContext {
  /** Prints the result: the document when `--json` was given, else the text. Call it once, at the end. */
  readonly print: (document: Readonly<Record<string, unknown>>, text: () => string) => void;
  /** Writes a piece of the result as soon as it is there; nothing when `--json` was given. */
  readonly stream: (text: string) => void;
  /** Progress goes to stderr. */
  readonly report: ReportProgress;
  /** Aborted by Ctrl-C; long work also may simply be killed, every finished job is kept. */
  readonly signal: AbortSignal;
  /** From now on the command ends by itself once `signal` is aborted; only a second Ctrl-C ends it at once. */
  readonly endsWhenAborted: () => void;
}

interface CommandDefinition<T> {
  /** yargs syntax: `search`, `explain <result>`. */
  readonly command: string;
  readonly describe: string;
  readonly options: (yargs: Argv<GlobalOptions>) => Argv<T>;
  /** Heavy modules are imported inside `run`, so that `--help` stays instant. */
  readonly run: (args: ArgumentsCamelCase<T>, context: CommandContext) => Promise<void>;
}

/** Options that every command has. */
export interface GlobalOptions {
  json: boolean;
  quiet: boolean;
}

/** Runs a command's body within a context of its own. */
type Start = (options: GlobalOptions, body: (context: CommandContext) => Promise<void>) => Promise<void>;

/** A command with its option types closed over, so that a list can hold commands of all types. */
export interface Command {
  readonly register: (cli: Argv<GlobalOptions>, start: Start) => Argv<GlobalOptions>;
}

export function defineCommand<T extends GlobalOptions>(definition: CommandDefinition<T>): Command {
  return {
    register(cli, start) {
      cli.command(definition.command, definition.describe, definition.options, (args) =>
        start(args, (context) => definition.run(args, context)),
      );
      return cli;
    },
  };
}
