/** What README promises exists: its commands, its flags, its links, and CI runs its very test line. */
import { existsSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';
import { expect, test } from 'vitest';
import { runPuzzle } from './cli/run-puzzle.ts';

const root = fileURLToPath(new URL('..', import.meta.url));
const readme = await readFile(`${root}/README.md`, 'utf8');

test('the two lines that start everything are there, and CI runs the second', async () => {
  expect(readme).toContain('\nnpm ci && npx puzzle search --hw h100\n');
  expect(readme).toContain('\nnpm ci && npm test\n');
  expect(await readFile(`${root}/.ci/run`, 'utf8')).toMatch(/^npm ci && npm test$/m);
});

test('every command of the table answers --help, and every flag of the examples is its own', async () => {
  const table = [...readme.matchAll(/^\| (`.+?`) \|/gm)].flatMap(([, cell]) => [
    ...cell!.matchAll(/`(?:puzzle )?(\w+)`/g),
  ]);
  const names = table.map(([, name]) => name!);
  expect(names.length).toBeGreaterThan(5);
  const help = (await runPuzzle('--help')).stdout;
  for (const name of names) expect(help).toMatch(new RegExp(`^ *puzzle ${name}\\b`, 'm'));
  for (const [, command, rest] of readme.matchAll(/^npx puzzle (\w+)(.*)$/gm)) {
    const own = (await runPuzzle(command!, '--help')).stdout;
    for (const [flag] of rest!.matchAll(/--[\w-]+/g)) expect(own).toContain(flag);
  }
});

test('its links lead somewhere', () => {
  const targets = [...readme.matchAll(/\]\(((?!https?:)[^)#]+)/g)].map(([, target]) => target!);
  expect(targets.filter((target) => !existsSync(`${root}/${target}`))).toEqual([]);
});
