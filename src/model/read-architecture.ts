/** An architecture from its configuration alone: config.json (uniform or heterogeneous) or architecture.json. */
import { readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { PuzzleError } from '../util/errors.ts';
import { parseJson } from '../util/json.ts';
import { parseArchitecture } from './architecture-file.ts';
import type { Architecture } from './architecture.ts';
import { parseModelConfig } from './model-config.ts';

/**
 * Reads a file, or the config.json or architecture.json of a folder.
 * @throws PuzzleError `file-missing`, or what the reader of the format throws.
 */
export function readArchitecture(path: string): Architecture {
  const { text, file } = readConfig(path);
  const value = parseJson(text, file) as { readonly schema?: unknown } | null;
  return value?.schema === undefined ? parseModelConfig(text, file) : parseArchitecture(text, file);
}

function readConfig(path: string): { readonly text: string; readonly file: string } {
  try {
    const files = statSync(path).isDirectory()
      ? ['architecture.json', 'config.json'].map((name) => join(path, name))
      : [path];
    const file =
      files.find((name) => statSync(name, { throwIfNoEntry: false }) !== undefined) ?? files.at(-1)!;
    return { text: readFileSync(file, 'utf8'), file };
  } catch (cause) {
    throw new PuzzleError('file-missing', `There is no architecture at ${path}.`, {
      at: path,
      fix: 'Give a config.json, an architecture.json, or a folder that holds one.',
      cause,
    });
  }
}
