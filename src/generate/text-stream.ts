/** Tokens as the text they become, piece by piece: a character that several tokens make appears when it is whole. */

/** What stands for bytes that are no whole character yet. */
const incomplete = '\ufffd';

export interface TextStream {
  /** The text that is new with this token; empty while a character is unfinished. */
  push(token: number): string;
  /** What is left over at the end. */
  end(): string;
}

/**
 * @param decode text of token ids
 * @param before tokens that the text follows: some tokenizers drop a space at the very start
 */
export function textStream(decode: (ids: Iterable<number>) => string, before: readonly number[]): TextStream {
  let shown: readonly number[] = before;
  let waiting: number[] = [];
  const flush = (): string => {
    const text = decode([...shown, ...waiting]).slice(decode(shown).length);
    if (waiting.length > 0) shown = waiting;
    waiting = [];
    return text;
  };
  return {
    push(token) {
      waiting.push(token);
      return decode([...shown, ...waiting]).endsWith(incomplete) ? '' : flush();
    },
    end: flush,
  };
}
