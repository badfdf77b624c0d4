/** Token data: text files as ids, ids as windows. */
import { readText } from '../tensor/index.ts';
import { PuzzleError } from '../util/errors.ts';
import type { Tokenizer } from './tokenizer.ts';

/** Windows of equal length, one after the other. */
export interface TokenWindows {
  /** Tokens of one window. */
  readonly window: number;
  readonly count: number;
  /** (count, window), flat */
  readonly ids: Int32Array;
}

/**
 * Token ids of text files, one after the other, or the first `limit` of them.
 * Throws `file-missing`, `file-invalid` for what is not UTF-8, `text-invalid` for a text without tokens.
 */
export async function readTokens(
  paths: readonly string[],
  tokenizer: Tokenizer,
  limit = Number.POSITIVE_INFINITY,
): Promise<Int32Array> {
  const parts: Int32Array[] = [];
  let total = 0;
  for (const path of paths) {
    if (total >= limit) break;
    const text = await readText(path);
    if (text.trim() === '') {
      throw new PuzzleError('text-invalid', `${path} holds no text.`, {
        at: path,
        fix: 'Name a file with text in it.',
      });
    }
    const ids = tokenizer.encode(text, limit - total);
    parts.push(ids);
    total += ids.length;
  }
  const all = new Int32Array(total);
  let end = 0;
  for (const part of parts) {
    all.set(part, end);
    end += part.length;
  }
  return all;
}

/**
 * Cuts windows of `window` tokens from the start on, without overlap; what is left over is dropped.
 *
 * @param count windows to cut; all that fit where it is undefined.
 * @param at the text's name, for errors.
 * @throws PuzzleError `text-too-short` for fewer windows than asked, or none.
 */
export function cutWindows(
  ids: Int32Array,
  window: number,
  count: number | undefined,
  at: string,
): TokenWindows {
  const available = Math.floor(ids.length / window);
  const wanted = count ?? Math.max(1, available);
  if (available < wanted) {
    const needed = wanted * window;
    throw new PuzzleError('text-too-short', `${at} has ${ids.length} tokens where ${needed} are needed.`, {
      at,
      value: ids.length,
      fix: 'Give a longer text, or ask for fewer or shorter windows.',
      details: { availableTokens: ids.length, neededTokens: needed },
    });
  }
  return { window, count: wanted, ids: ids.slice(0, wanted * window) };
}
