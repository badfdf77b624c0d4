/** Test sets as JSON lines. */
import type { z } from 'zod';
import { PuzzleError } from '../util/errors.ts';
import { checkAgainst, parseJson } from '../util/json.ts';

/**
 * The value of every line that is not blank.
 * @throws PuzzleError `file-invalid` naming the line; also where there is none
 */
export function parseLines<T>(schema: z.ZodType<T>, text: string, path: string, fix: string): readonly T[] {
  const values = text.split('\n').flatMap((line, index) => {
    if (line.trim() === '') return [];
    const at = `${path}: line ${index + 1}`;
    return [checkAgainst(schema, parseJson(line, at), at, fix)];
  });
  if (values.length > 0) return values;
  throw new PuzzleError('file-invalid', `${path} has no lines.`, {
    at: path,
    fix: 'Give a file with at least one line.',
  });
}
