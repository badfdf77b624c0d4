/** Texts to token ids and back, through the tokenizers library of Hugging Face. */
import { Tokenizer as LibraryTokenizer } from '@huggingface/tokenizers';
import type { GgufMetadata } from '../tensor/index.ts';
import { PuzzleError } from '../util/errors.ts';
import { checkAgainst } from '../util/json.ts';
import { mayBeCutAtSpaces, prepared, tokenizerJsonSchema, type TokenizerJson } from './tokenizer-json.ts';

export interface Tokenizer {
  /**
   * Token ids of a text, or the first `limit` of them. Special tokens in the text are recognised. No special token is
   * added, except BOS at the start where the model's own tokenizer adds it.
   * Throws `text-invalid` for a text that has characters without tokens.
   */
  encode(text: string, limit?: number): Int32Array;
  /** The text of token ids, special tokens included. */
  decode(ids: Iterable<number>): string;
  /** One more than the largest token id. */
  readonly vocabularySize: number;
  /** The files of the tokenizer, in the form of a Hugging Face folder. */
  files(): TokenizerFiles;
  /** The `tokenizer.*` metadata of the GGUF file that it came from. */
  readonly gguf?: GgufMetadata;
}

/** Content by file name. */
export interface TokenizerFiles {
  readonly 'tokenizer.json': string;
  readonly 'tokenizer_config.json': string;
}

/**
 * Makes a tokenizer from the parsed tokenizer.json and the text of tokenizer_config.json.
 * Throws `file-invalid` or `unsupported-tokenizer` naming `at`, the file they come from.
 */
export function createTokenizer(json: unknown, at: string, files: () => TokenizerFiles): Tokenizer {
  const checked = checkAgainst(tokenizerJsonSchema, json, at, 'Download the file again.');
  const library = openLibrary(prepared(checked), at);
  const vocabularySize = sizeOf(checked);
  const prefix = idsBeforeText(library);
  const cut = mayBeCutAtSpaces(checked) ? cutAtSpaces : (text: string): string[] => [text];
  return {
    vocabularySize,
    files,
    encode(text, limit = Number.POSITIVE_INFINITY) {
      const ids: number[] = [...prefix];
      for (const piece of cut(text)) {
        if (ids.length >= limit) break;
        for (const id of library.encode(piece, { add_special_tokens: false }).ids) ids.push(id);
      }
      return idArray(ids.length > limit ? ids.slice(0, limit) : ids, at);
    },
    decode(ids) {
      const list = [...ids];
      if (list.length === 0) return '';
      return library.decode(list, { skip_special_tokens: false, clean_up_tokenization_spaces: false });
    },
  };
}

function openLibrary(json: object, at: string): LibraryTokenizer {
  try {
    return new LibraryTokenizer(json, {});
  } catch (cause) {
    throw new PuzzleError('unsupported-tokenizer', `${at}: ${(cause as Error).message}`, {
      at,
      fix: 'Use a model with a tokenizer.json of byte-pair encoding.',
      cause,
    });
  }
}

/** Largest id of vocabulary and added tokens, plus one. */
function sizeOf({ model, added_tokens }: TokenizerJson): number {
  let size = Array.isArray(model.vocab) ? model.vocab.length : 0;
  if (!Array.isArray(model.vocab)) for (const id of Object.values(model.vocab)) size = Math.max(size, id + 1);
  for (const { id } of added_tokens ?? []) size = Math.max(size, id + 1);
  return size;
}

/** What the tokenizer's own template puts before a text: BOS, or nothing. */
function idsBeforeText(library: LibraryTokenizer): number[] {
  const bare = library.encode('a', { add_special_tokens: false }).ids;
  const dressed = library.encode('a', { add_special_tokens: true }).ids;
  return bare[0] === undefined ? [] : dressed.slice(0, dressed.indexOf(bare[0]));
}

const pieceLength = 2 ** 16;

/** Pieces of about 64 K characters, each but the first starting at a space between two letters. */
function* cutAtSpaces(text: string): Generator<string> {
  const spaceBetweenLetters = /(?<=\p{L}) (?=\p{L})/gu;
  for (let start = 0; start < text.length;) {
    spaceBetweenLetters.lastIndex = start + pieceLength;
    const end = spaceBetweenLetters.exec(text)?.index ?? text.length;
    yield text.slice(start, end);
    start = end;
  }
}

function idArray(ids: readonly number[], at: string): Int32Array {
  // The library gives no id where neither a token nor an unknown-token is there for a character.
  if (ids.some((id) => !Number.isInteger(id))) {
    throw new PuzzleError('text-invalid', `The text has characters that ${at} has no tokens for.`, {
      at,
      fix: 'Use a text that the model was made for.',
    });
  }
  return Int32Array.from(ids);
}
