/** The command line: parses, runs one command, turns failures into messages and exit codes. */
import yargs from 'yargs';
import type { Argv } from 'yargs';
import { PuzzleError } from '../util/errors.ts';
import type { CommandContext, GlobalOptions } from './command.ts';
import { commands } from './commands/index.ts';
import { renderFailure } from './failure.ts';
import { terminalProgress } from './terminal-progress.ts';
import { version } from './version.ts';

/** Runs `puzzle` with the given arguments; sets `process.exitCode`, exits only on Ctrl-C. */
export async function main(argv: readonly string[]): Promise<void> {
  const json = argv.includes('--json');
  const interrupt = new AbortController();
  const fail = (error: unknown): void => {
    process.exitCode = error instanceof PuzzleError ? error.exitCode : 1;
    if (json) process.stdout.write(`${JSON.stringify({ error: describeError(error) })}\n`);
    process.stderr.write(renderFailure(error));
  };
  let waits = false;
  const onInterrupt = (): void => {
    const isFirst = !interrupt.signal.aborted;
    interrupt.abort();
    if (isFirst && waits) return;
    fail(
      new PuzzleError('interrupted', 'Interrupted.', {
        fix: 'Run the same command again: finished jobs are kept.',
      }),
    );
    process.exit(130);
  };
  process.on('SIGINT', onInterrupt);
  process.on('SIGTERM', onInterrupt);
  process.stdout.on('error', (error: NodeJS.ErrnoException) => {
    if (error.code === 'EPIPE') process.exit(0);
    throw error;
  });
  try {
    const endsWhenAborted = (): void => {
      waits = true;
    };
    await parser(argv, { json, signal: interrupt.signal, endsWhenAborted }).parseAsync();
  } catch (error) {
    fail(error);
  } finally {
    process.off('SIGINT', onInterrupt);
    process.off('SIGTERM', onInterrupt);
  }
}

function parser(
  argv: readonly string[],
  { json, ...interruption }: { json: boolean } & Pick<CommandContext, 'signal' | 'endsWhenAborted'>,
): Argv<GlobalOptions> {
  let cli = yargs([...argv])
    .scriptName('puzzle')
    .usage('$0 <command>\n\nFit a pretrained language model to the hardware that serves it.')
    .option('json', { type: 'boolean', default: false, describe: 'Print one JSON document on stdout' })
    .option('quiet', { type: 'boolean', default: false, describe: 'No progress on stderr' })
    .version(version)
    .alias('help', 'h')
    .strict()
    .recommendCommands()
    .demandCommand(1, 'Name a command; `puzzle --help` lists them.')
    .wrap(Math.min(110, process.stdout.columns ?? 110))
    .exitProcess(false)
    .parserConfiguration({ 'duplicate-arguments-array': false })
    .fail((message, error) => {
      // yargs reports its own complaints as a message, ours as the error thrown by a handler.
      throw (
        error ??
        new PuzzleError('bad-usage', message, { fix: 'See `puzzle --help` or `puzzle <command> --help`.' })
      );
    });
  for (const command of commands) {
    cli = command.register(cli, async ({ quiet }, body) => {
      const progress = terminalProgress(process.stderr, { quiet });
      const print: CommandContext['print'] = (document, text) => {
        progress.clear();
        process.stdout.write(json ? `${JSON.stringify(document)}\n` : `${text().trimEnd()}\n`);
      };
      try {
        const stream: CommandContext['stream'] = (text) => {
          if (!json) process.stdout.write(text);
        };
        await body({ print, stream, report: progress.report, ...interruption });
      } finally {
        progress.clear();
      }
    });
  }
  return cli;
}

const describeError = (error: unknown): Record<string, unknown> =>
  error instanceof PuzzleError
    ? error.toJSON()
    : { code: 'internal', message: error instanceof Error ? error.message : String(error) };
