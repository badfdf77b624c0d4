/** How a failure reads on a terminal: what is wrong, where, and what to do. */
import { PuzzleError } from '../util/errors.ts';

export function renderFailure(error: unknown): string {
  if (!(error instanceof PuzzleError)) {
    const stack = error instanceof Error ? (error.stack ?? error.message) : String(error);
    return `puzzle: this is a bug of ours, please report it with the lines below.\n${stack}\n`;
  }
  const { at, value, fix } = error.context;
  const lines = [`puzzle: ${error.message} [${error.code}]`];
  if (at !== undefined) lines.push(`  at:  ${at}`);
  if (value !== undefined) lines.push(`  got: ${typeof value === 'string' ? value : JSON.stringify(value)}`);
  if (fix !== undefined) lines.push(`  fix: ${fix}`);
  return `${lines.join('\n')}\n`;
}
