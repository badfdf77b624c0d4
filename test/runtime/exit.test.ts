/** A process ends cleanly, with its own exit code, whatever its workers are doing. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import { expect, test } from 'vitest';

const program = fileURLToPath(new URL('./run-until.ts', import.meta.url));

/** Starts `run-until.ts`; once its workers are busy, interrupts it or lets it end its own way. */
async function outcomeOf(ending: string): Promise<{ readonly code: number | null; readonly errors: string }> {
  const child = spawn(process.execPath, ['--import', import.meta.resolve('tsx'), program, ending]);
  let errors = '';
  child.stderr.on('data', (chunk: Buffer) => (errors += chunk.toString()));
  const ended = once(child, 'exit');
  await once(child.stdout, 'data');
  if (ending === 'interrupt') child.kill('SIGINT');
  const [code, signal] = (await ended) as [number | null, string | null];
  // On a machine so busy that a call outlasts the patience of Ctrl-C the signal ends the process: 130 to a shell.
  return { code: ending === 'interrupt' && signal === 'SIGINT' ? 130 : code, errors };
}

test.each([
  ['close', 0],
  ['forget to close', 0],
  ['exit', 7],
  ['interrupt', 130],
])('%s: exit code %i', async (ending, code) => {
  expect(await outcomeOf(ending)).toEqual({ code, errors: '' });
});
