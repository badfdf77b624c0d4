/** JSON that enters from outside: parsed, duplicate keys and NaN refused, checked against a schema, faults with their place. */
import type { z } from 'zod';
import { PuzzleError } from './errors.ts';

/**
 * Parses JSON text more strictly than `JSON.parse`, which keeps the last of two equal keys and cannot say where a
 * Python-written `NaN` stands.
 *
 * @param at the file or flag, first part of the place in errors.
 * @throws PuzzleError `file-invalid` on a syntax error, a duplicate key, or a number that is not finite.
 */
export function parseJson(text: string, at: string): unknown {
  const fault = findFault(text);
  if (fault !== undefined) {
    throw new PuzzleError('file-invalid', `${fault.message}: ${fault.path.join(': ') || 'top level'}`, {
      at: [at, ...fault.path].join(': '),
      value: fault.value,
      fix: fault.fix,
    });
  }
  try {
    return JSON.parse(text);
  } catch (cause) {
    throw new PuzzleError('file-invalid', `not valid JSON: ${(cause as Error).message}`, {
      at,
      fix: 'Give a complete JSON file.',
      cause,
    });
  }
}

/**
 * The value, typed, if it fits the schema.
 *
 * @throws PuzzleError `file-invalid` naming the first field at fault.
 */
export function checkAgainst<T>(schema: z.ZodType<T>, value: unknown, at: string, fix: string): T {
  const parsed = schema.safeParse(value, { reportInput: true });
  if (parsed.success) return parsed.data;
  const issue = deepestIssue(parsed.error.issues);
  throw new PuzzleError('file-invalid', `${[at, ...issue.path].join(': ')}: ${issue.message}`, {
    at: [at, ...issue.path].join(': '),
    ...(isPlain(issue.input) && { value: issue.input }),
    fix,
  });
}

/** In a union every branch complains; the branch that got furthest is the one that was meant. */
function deepestIssue(issues: readonly z.core.$ZodIssue[]): z.core.$ZodIssue {
  const first = issues[0]!;
  if (first.code !== 'invalid_union' || first.errors.length === 0) return first;
  const candidates = first.errors.filter((branch) => branch.length > 0).map(deepestIssue);
  if (candidates.length === 0) return first;
  const deepest = candidates.reduce((a, b) => (b.path.length > a.path.length ? b : a));
  return { ...deepest, path: [...first.path, ...deepest.path] };
}

const isPlain = (value: unknown): boolean =>
  ['string', 'number', 'boolean'].includes(typeof value) || value === null;

interface Fault {
  readonly message: string;
  readonly path: readonly (string | number)[];
  readonly value: unknown;
  readonly fix: string;
}

const token = /"(?:[^"\\]|\\.)*"|[{}[\],:]|[^\s{}[\],:"]+/g;
const notFinite = /^[+-]?(?:nan|inf|infinity)$/i;

/** Walks the tokens with the path of keys; text that is no JSON at all is left to `JSON.parse` to refuse. */
function findFault(text: string): Fault | undefined {
  const stack: { readonly keys: Set<string> | undefined; step: string | number }[] = [];
  let expectsKey = false;
  for (const [lexeme] of text.matchAll(token)) {
    const top = stack.at(-1);
    const path = (): (string | number)[] => stack.map(({ step }) => step);
    if (lexeme === '{') {
      stack.push({ keys: new Set(), step: '' });
      expectsKey = true;
    } else if (lexeme === '[') {
      stack.push({ keys: undefined, step: 0 });
      expectsKey = false;
    } else if (lexeme === '}' || lexeme === ']') {
      stack.pop();
      expectsKey = false;
    } else if (lexeme === ',') {
      if (typeof top?.step === 'number') top.step++;
      expectsKey = top?.keys !== undefined;
    } else if (expectsKey && top?.keys !== undefined && lexeme.startsWith('"')) {
      const key = unquote(lexeme);
      top.step = key;
      expectsKey = false;
      if (top.keys.has(key)) {
        return {
          message: 'the key occurs twice',
          path: path(),
          value: key,
          fix: 'Remove or rename one of them.',
        };
      }
      top.keys.add(key);
    } else if (notFinite.test(lexeme)) {
      return { message: `${lexeme} is no number`, path: path(), value: lexeme, fix: 'Give a finite number.' };
    }
  }
  return undefined;
}

function unquote(lexeme: string): string {
  try {
    return JSON.parse(lexeme) as string;
  } catch {
    return lexeme;
  }
}
