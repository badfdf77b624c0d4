/** The tokenizer inside a GGUF file, in the form of tokenizer.json and tokenizer_config.json. */
import type { GgufMetadata } from '../tensor/index.ts';
import { PuzzleError } from '../util/errors.ts';
import { preTokenizers, type PreTokenizer } from './pre-tokenizers.ts';
import { createTokenizer, type Tokenizer } from './tokenizer.ts';
import { splitComponent } from './tokenizer-json.ts';

/** `tokenizer.ggml.token_type`. */
export const tokenTypes = { normal: 1, unknown: 2, control: 3, userDefined: 4, unused: 5, byte: 6 } as const;

/** Throws `file-invalid` or `unsupported-tokenizer` naming the metadata key of `path` at fault. */
export function ggufTokenizer(metadata: GgufMetadata, path: string): Tokenizer {
  const vocabulary = readVocabulary(metadata, path);
  const model = metadata.get('tokenizer.ggml.model')?.value;
  const parts =
    model === 'gpt2'
      ? byteLevelParts(metadata, vocabulary, path)
      : model === 'llama'
        ? sentencePieceParts(metadata, vocabulary, path)
        : refuse(
            path,
            'tokenizer.ggml.model',
            model,
            'Use a model with a byte-pair or SentencePiece tokenizer.',
          );
  const addsBos = metadata.get('tokenizer.ggml.add_bos_token')?.value ?? parts.addBos;
  const bos = tokenAt(metadata, vocabulary, 'bos_token_id');
  const json = {
    version: '1.0',
    truncation: null,
    padding: null,
    added_tokens: addedTokens(vocabulary),
    normalizer: parts.normalizer,
    pre_tokenizer: parts.preTokenizer,
    post_processor: addsBos === true && bos !== undefined ? startingWith(bos) : null,
    decoder: parts.decoder,
    model: parts.model,
  };
  const tokenizer = createTokenizer(json, path, () => ({
    'tokenizer.json': JSON.stringify(json),
    'tokenizer_config.json': `${JSON.stringify(config(metadata, vocabulary, addsBos === true), undefined, 2)}\n`,
  }));
  const own = Array.from(metadata).filter(([key]) => key.startsWith('tokenizer.'));
  return { ...tokenizer, gguf: new Map(own) };
}

interface Vocabulary {
  readonly tokens: readonly string[];
  /** By token; undefined where the file gives none and all are normal. */
  readonly types: readonly number[] | undefined;
}

function readVocabulary(metadata: GgufMetadata, path: string): Vocabulary {
  const tokens = listOf(metadata, 'tokenizer.ggml.tokens', 'string', path);
  if (tokens === undefined) throw missing(path, 'tokenizer.ggml.tokens');
  const types = listOf(metadata, 'tokenizer.ggml.token_type', 'number', path);
  if (types !== undefined && types.length !== tokens.length) {
    throw new PuzzleError(
      'file-invalid',
      `${path}: ${types.length} token types for ${tokens.length} tokens.`,
      {
        at: `${path}: tokenizer.ggml.token_type`,
        value: types.length,
        fix,
      },
    );
  }
  return { tokens, types };
}

interface Parts {
  readonly normalizer: object | null;
  readonly preTokenizer: object | null;
  readonly decoder: object;
  readonly model: object;
  readonly addBos: boolean;
}

/** GPT-2's scheme: bytes as printable characters, words by pattern, merges in the file. */
function byteLevelParts(metadata: GgufMetadata, vocabulary: Vocabulary, path: string): Parts {
  const merges = listOf(metadata, 'tokenizer.ggml.merges', 'string', path);
  if (merges === undefined) throw missing(path, 'tokenizer.ggml.merges');
  const { patterns, ignoreMerges, addBos } = preTokenizerOf(metadata, path);
  const byteLevel = { type: 'ByteLevel', add_prefix_space: false, trim_offsets: true, use_regex: false };
  return {
    normalizer: null,
    preTokenizer: { type: 'Sequence', pretokenizers: [...patterns.map(splitComponent), byteLevel] },
    decoder: { ...byteLevel, use_regex: true },
    model: { ...bytePairModel(vocabulary), merges, ignore_merges: ignoreMerges },
    addBos,
  };
}

function preTokenizerOf(metadata: GgufMetadata, path: string): PreTokenizer {
  const name = metadata.get('tokenizer.ggml.pre')?.value ?? 'default';
  const known = typeof name === 'string' ? preTokenizers[name] : undefined;
  return (
    known ?? refuse(path, 'tokenizer.ggml.pre', name, `Known are ${Object.keys(preTokenizers).join(', ')}.`)
  );
}

/** SentencePiece's scheme: spaces as ▁, unknown characters as bytes, merges by the score of what they make. */
function sentencePieceParts(metadata: GgufMetadata, vocabulary: Vocabulary, path: string): Parts {
  const scores = listOf(metadata, 'tokenizer.ggml.scores', 'number', path);
  if (scores === undefined) throw missing(path, 'tokenizer.ggml.scores');
  const prefixes = metadata.get('tokenizer.ggml.add_space_prefix')?.value !== false;
  const replace = { type: 'Replace', pattern: { String: ' ' }, content: '▁' };
  const unknown = vocabulary.types?.indexOf(tokenTypes.unknown) ?? -1;
  return {
    normalizer: {
      type: 'Sequence',
      normalizers: [...(prefixes ? [{ type: 'Prepend', prepend: '▁' }] : []), replace],
    },
    preTokenizer: null,
    decoder: {
      type: 'Sequence',
      decoders: [
        { type: 'Replace', pattern: { String: '▁' }, content: ' ' },
        { type: 'ByteFallback' },
        { type: 'Fuse' },
        ...(prefixes ? [{ type: 'Strip', content: ' ', start: 1, stop: 0 }] : []),
      ],
    },
    model: {
      ...bytePairModel(vocabulary),
      merges: mergesByScore(vocabulary, scores),
      unk_token: vocabulary.tokens[unknown] ?? null,
      byte_fallback: true,
      fuse_unk: true,
    },
    addBos: true,
  };
}

/**
 * SentencePiece merges the neighbours whose union has the best score, leftmost first: the same as byte-pair encoding
 * whose merges are all the ways to make each token of two, best score first.
 */
function mergesByScore({ tokens, types }: Vocabulary, scores: readonly number[]): [string, string][] {
  const ids = new Map(tokens.map((token, id) => [token, id]));
  const isMade = (id: number): boolean => types === undefined || types[id] === tokenTypes.normal;
  return tokens
    .flatMap((token, id) =>
      isMade(id) ? waysToMake(token, ids).map((pair) => ({ pair, score: scores[id] ?? 0 })) : [],
    )
    .sort((a, b) => b.score - a.score)
    .map(({ pair }) => pair);
}

function waysToMake(token: string, ids: ReadonlyMap<string, number>): [string, string][] {
  const characters = Array.from(token);
  return characters
    .slice(1)
    .map((_, i): [string, string] => [characters.slice(0, i + 1).join(''), characters.slice(i + 1).join('')])
    .filter(([left, right]) => ids.has(left) && ids.has(right));
}

const bytePairModel = ({ tokens, types }: Vocabulary): Record<string, unknown> => ({
  type: 'BPE',
  dropout: null,
  unk_token: null,
  continuing_subword_prefix: null,
  end_of_word_suffix: null,
  fuse_unk: false,
  byte_fallback: false,
  vocab: Object.fromEntries(
    tokens.map((token, id) => [token, id] as const).filter(([, id]) => types?.[id] !== tokenTypes.unused),
  ),
});

const addedTokens = ({ tokens, types }: Vocabulary): object[] =>
  tokens
    .map((content, id) => ({
      id,
      content,
      single_word: false,
      lstrip: false,
      rstrip: false,
      normalized: false,
      special: types?.[id] === tokenTypes.control,
    }))
    .filter(({ id }) => types?.[id] === tokenTypes.control || types?.[id] === tokenTypes.userDefined);

const startingWith = (token: { readonly id: number; readonly content: string }): object => ({
  type: 'TemplateProcessing',
  single: [{ SpecialToken: { id: token.content, type_id: 0 } }, { Sequence: { id: 'A', type_id: 0 } }],
  pair: [{ Sequence: { id: 'A', type_id: 0 } }, { Sequence: { id: 'B', type_id: 1 } }],
  special_tokens: { [token.content]: { id: token.content, ids: [token.id], tokens: [token.content] } },
});

function config(metadata: GgufMetadata, vocabulary: Vocabulary, addsBos: boolean): Record<string, unknown> {
  const special = (key: string): string | undefined => tokenAt(metadata, vocabulary, key)?.content;
  return {
    tokenizer_class: 'PreTrainedTokenizerFast',
    add_bos_token: addsBos,
    clean_up_tokenization_spaces: false,
    bos_token: special('bos_token_id'),
    eos_token: special('eos_token_id'),
    unk_token: special('unknown_token_id'),
    pad_token: special('padding_token_id'),
    chat_template: metadata.get('tokenizer.chat_template')?.value,
  };
}

function tokenAt(
  metadata: GgufMetadata,
  { tokens }: Vocabulary,
  key: string,
): { readonly id: number; readonly content: string } | undefined {
  const id = metadata.get(`tokenizer.ggml.${key}`)?.value;
  const content = typeof id === 'number' ? tokens[id] : undefined;
  return content === undefined ? undefined : { id: Number(id), content };
}

interface ItemTypes {
  readonly string: string;
  readonly number: number;
}

/** An array of the metadata; undefined where it is not there. */
function listOf<T extends keyof ItemTypes>(
  metadata: GgufMetadata,
  key: string,
  type: T,
  path: string,
): readonly ItemTypes[T][] | undefined {
  const value = metadata.get(key);
  if (value === undefined) return undefined;
  // All items of a GGUF array have one type, so the first speaks for the rest.
  if (value.type === 'array' && (value.value.length === 0 || typeof value.value[0] === type)) {
    return value.value as readonly ItemTypes[T][];
  }
  throw new PuzzleError('file-invalid', `${path}: ${key} is no list of ${type}s.`, {
    at: `${path}: ${key}`,
    fix,
  });
}

const fix = 'Download or convert the file again.';

const missing = (path: string, key: string): PuzzleError =>
  new PuzzleError('file-invalid', `${path}: ${key} is missing.`, { at: `${path}: ${key}`, fix });

function refuse(path: string, key: string, value: unknown, remedy: string): never {
  throw new PuzzleError('unsupported-tokenizer', `${path}: ${key} ${String(value)} is not supported.`, {
    at: `${path}: ${key}`,
    value,
    fix: remedy,
  });
}
