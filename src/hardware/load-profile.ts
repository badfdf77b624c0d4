/** Finds hardware profiles by name or file and checks them. */
import { readFileSync, readdirSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { PuzzleError } from '../util/errors.ts';
import { profileSchema } from './profile.ts';
import type { HardwareProfile } from './profile.ts';

const shipped = fileURLToPath(new URL('../../hardware-profiles/', import.meta.url));

/** Short names people type. */
const aliases: Readonly<Record<string, string>> = {
  h100: 'h100-sxm',
  h200: 'h200-sxm',
  a100: 'a100-sxm',
  cpu: 'generic-cpu',
  m4: 'apple-m4-max',
};

/** `h100-sxm/vllm` lies in `h100-sxm__vllm.json`: a slash cannot stand in a file name. */
export const profileFileName = (name: string): string => `${name.replace('/', '__')}.json`;

/** Names of the shipped profiles: `h100-sxm`, `h100-sxm/vllm`, ... */
export function profileNames(): readonly string[] {
  return readdirSync(shipped)
    .filter((file) => file.endsWith('.json'))
    .map((file) => file.slice(0, -'.json'.length).replace('__', '/'))
    .sort();
}

/** Whether a name or file is one of a hardware profile, rather than of a model. */
export function isProfile(nameOrFile: string): boolean {
  if (profileNames().includes(fullName(nameOrFile))) return true;
  try {
    return readFileSync(nameOrFile, 'utf8').includes(profileSchema.shape.schema.value);
  } catch {
    return false;
  }
}

/** Aliases written out. */
function fullName(name: string): string {
  const [device = '', ...stack] = name.split('/');
  return [aliases[device] ?? device, ...stack].join('/');
}

/**
 * A profile by name (`h100`, `h100-sxm/vllm`) or from a file.
 * @throws PuzzleError `file-missing` for an unknown name, `file-invalid` for a profile that breaks the schema.
 */
export function loadProfile(nameOrFile: string): HardwareProfile {
  const name = fullName(nameOrFile);
  const path = profileNames().includes(name) ? shipped + profileFileName(name) : nameOrFile;
  let text: string;
  try {
    text = readFileSync(path, 'utf8');
  } catch (cause) {
    throw new PuzzleError('file-missing', `There is no hardware profile "${nameOrFile}".`, {
      at: nameOrFile,
      fix: `Give a profile file or one of: ${profileNames().join(', ')}.`,
      cause,
    });
  }
  return parseProfile(text, nameOrFile);
}

/** @throws PuzzleError `file-invalid` naming the field. */
export function parseProfile(text: string, at: string): HardwareProfile {
  let json: unknown;
  try {
    json = JSON.parse(text);
  } catch (cause) {
    throw new PuzzleError('file-invalid', 'The hardware profile is no JSON.', {
      at,
      cause,
      fix: 'Give a file written by `puzzle calibrate` or `puzzle profile`.',
    });
  }
  const parsed = profileSchema.safeParse(json);
  if (parsed.success) return parsed.data;
  const issue = parsed.error.issues[0]!;
  throw new PuzzleError('file-invalid', `The hardware profile is malformed: ${issue.message}.`, {
    at: [at, issue.path.join('.')].join(': '),
    fix: 'Correct the field; docs/hardware.md describes them all.',
  });
}
