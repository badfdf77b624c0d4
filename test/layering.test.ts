/** Imports point up the table of docs/architecture.md, and what is special to one folder stays in it. */
import { readdir, readFile } from 'node:fs/promises';
import { dirname, join, normalize } from 'node:path';
import { fileURLToPath } from 'node:url';
import { expect, test } from 'vitest';

const root = fileURLToPath(new URL('..', import.meta.url));

/** Folders in the order of the table: a folder may import itself and those above it. */
async function foldersInOrder(): Promise<readonly string[]> {
  const text = await readFile(join(root, 'docs/architecture.md'), 'utf8');
  return [...text.matchAll(/^\| `src\/(\w+)\/`/gm)].map(([, name]) => name!);
}

interface Source {
  readonly path: string;
  readonly text: string;
  readonly imports: readonly string[];
}

async function sources(): Promise<readonly Source[]> {
  const paths = await readdir(join(root, 'src'), { recursive: true });
  return Promise.all(
    paths
      .filter((path) => path.endsWith('.ts'))
      .map(async (path) => {
        const text = await readFile(join(root, 'src', path), 'utf8');
        const imports = [...text.matchAll(/\bfrom '([^']+)'|\bimport\('([^']+)'\)/g)].map(
          ([, a, b]) => a ?? b!,
        );
        return { path, text, imports };
      }),
  );
}

const folderOf = (path: string): string => path.split('/')[0]!;

test('every folder is in the table, and no import points down it', async () => {
  const order = await foldersInOrder();
  const files = await sources();
  expect([...new Set(files.map(({ path }) => folderOf(path)))].sort()).toEqual([...order].sort());
  const wrong = files.flatMap(({ path, imports }) =>
    imports
      .filter((target) => target.startsWith('.'))
      .map((target) => normalize(join(dirname(path), target)))
      .filter((target) => order.indexOf(folderOf(target)) > order.indexOf(folderOf(path)))
      .map((target) => `${path} imports ${target}`),
  );
  expect(wrong).toEqual([]);
});

test('the search is pure, one folder knows ONNX Runtime, one prints and exits', async () => {
  const files = await sources();
  const offenders = (rule: (source: Source) => boolean): string[] =>
    files.filter(rule).map(({ path }) => path);
  expect(
    offenders(
      ({ path, imports }) => folderOf(path) === 'search' && imports.some((name) => name.startsWith('node:')),
    ),
  ).toEqual([]);
  expect(
    offenders(
      ({ path, imports }) =>
        folderOf(path) !== 'runtime' && imports.some((name) => name.startsWith('onnxruntime')),
    ),
  ).toEqual([]);
  expect(
    offenders(
      ({ path, text }) =>
        folderOf(path) !== 'cli' && /\bconsole\.|process\.(stdout|stderr|exit\b|exitCode)/.test(text),
    ),
  ).toEqual([]);
});
