/** Runs the command line from source in a process of its own, as a user would. */
import { execFile } from 'node:child_process';
import { fileURLToPath } from 'node:url';

const main = fileURLToPath(new URL('../../src/cli/main.ts', import.meta.url));
const start = `import { main } from ${JSON.stringify(main)}; await main(process.argv.slice(1));`;

export interface Outcome {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

/** Program and arguments of a process that runs the command line. */
export const puzzleCommand = (...args: readonly string[]): readonly string[] => [
  process.execPath,
  '--import',
  'tsx',
  '--input-type=module',
  '--eval',
  start,
  '--',
  ...args,
];

/** Never rejects: a failing command is an outcome. */
export function runPuzzle(...args: readonly string[]): Promise<Outcome> {
  return new Promise((resolve) => {
    const [program, ...rest] = puzzleCommand(...args);
    execFile(program!, rest, { maxBuffer: 64 * 2 ** 20 }, (error, stdout, stderr) => {
      resolve({ code: error === null ? 0 : Number(error.code ?? 1), stdout, stderr });
    });
  });
}
