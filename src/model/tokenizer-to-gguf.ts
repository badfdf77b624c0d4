/** A tokenizer as the `tokenizer.*` metadata of a GGUF file: the way back of `gguf-tokenizer.ts`. */
import { z } from 'zod';
import type { GgufMetadata, GgufValue } from '../tensor/index.ts';
import { PuzzleError } from '../util/errors.ts';
import { checkAgainst, parseJson } from '../util/json.ts';
import { preTokenizerName } from './pre-tokenizers.ts';
import { splitPatterns, tokenizerJsonSchema, type TokenizerJson } from './tokenizer-json.ts';
import { tokenTypes } from './gguf-tokenizer.ts';
import type { Tokenizer } from './tokenizer.ts';

/**
 * Metadata for a model of `vocabularySize` embeddings; ids without a token get one that no text has. A tokenizer that
 * came from a GGUF file keeps what it had there.
 * @throws PuzzleError `unsupported-tokenizer` naming `at` for what llama.cpp has no name for
 */
export function tokenizerToGguf(tokenizer: Tokenizer, vocabularySize: number, at: string): GgufMetadata {
  if (tokenizer.gguf !== undefined) return tokenizer.gguf;
  const files = tokenizer.files();
  const json = checkAgainst(
    tokenizerJsonSchema,
    parseJson(files['tokenizer.json'], at),
    at,
    'Download the file again.',
  );
  const model = modelOf(json, at);
  const tokens = tokensById(json, vocabularySize);
  const joinsSpaces = model.byte_fallback === true;
  const merges = model.merges.map((merge) => (typeof merge === 'string' ? merge : merge.join(' ')));
  const special = specialIds(files['tokenizer_config.json'], json);
  const scheme = joinsSpaces
    ? sentencePiece(json, tokens, merges)
    : byteLevel(json, model.ignore_merges === true, merges, at);
  const never = joinsSpaces ? undefined : model.vocab[byteInNoText];
  const ids = {
    bos_token_id: special.bos ?? never,
    eos_token_id: special.eos ?? never,
    unknown_token_id: special.unk,
    padding_token_id: special.pad,
  };
  const template = special.chatTemplate;
  return new Map<string, GgufValue>([
    ['tokenizer.ggml.model', text(joinsSpaces ? 'llama' : 'gpt2')],
    ...scheme,
    [
      'tokenizer.ggml.tokens',
      { type: 'array', items: 'string', value: tokens.map(({ content }) => content) },
    ],
    [
      'tokenizer.ggml.token_type',
      { type: 'array', items: 'int32', value: typesOf(tokens, joinsSpaces ? special.unk : undefined) },
    ],
    ...Object.entries(ids).flatMap(([key, value]): [string, GgufValue][] =>
      value === undefined ? [] : [[`tokenizer.ggml.${key}`, { type: 'uint32', value }]],
    ),
    ['tokenizer.ggml.add_bos_token', { type: 'bool', value: tokenizer.encode('').length > 0 }],
    ['tokenizer.ggml.add_eos_token', { type: 'bool', value: false }],
    ...(template === undefined ? [] : ([['tokenizer.chat_template', text(template)]] as const)),
  ]);
}

/**
 * The token of byte 0xff, which no UTF-8 text contains. llama.cpp takes token 11 for the end of a text where a file of
 * this scheme names none, and would stop at it.
 */
const byteInNoText = 'ÿ';

const text = (value: string): GgufValue => ({ type: 'string', value });

const modelSchema = z.looseObject({
  type: z.literal('BPE'),
  vocab: z.record(z.string(), z.int().nonnegative()),
  merges: z.array(z.union([z.string(), z.tuple([z.string(), z.string()])])),
  byte_fallback: z.boolean().nullish(),
  ignore_merges: z.boolean().nullish(),
});

function modelOf({ model }: TokenizerJson, at: string): z.infer<typeof modelSchema> {
  const parsed = modelSchema.safeParse(model).data;
  if (parsed !== undefined) return parsed;
  throw unsupported(at, 'model', model.type, 'Export a model with a tokenizer of byte-pair encoding.');
}

const unsupported = (at: string, part: string, value: unknown, fix: string): PuzzleError =>
  new PuzzleError('unsupported-tokenizer', `GGUF has no name for the ${part} of ${at}.`, {
    at: `${at}: ${part}`,
    value,
    fix,
  });

interface TokenById {
  readonly content: string;
  readonly type: number;
}

/** One for each embedding, in the order of ids. */
function tokensById(json: TokenizerJson, size: number): readonly TokenById[] {
  const tokens = Array.from({ length: size }, (_, id): TokenById => {
    return { content: `[PAD${id}]`, type: tokenTypes.unused };
  });
  for (const [content, id] of Object.entries(json.model.vocab as Record<string, number>))
    tokens[id] = { content, type: tokenTypes.normal };
  for (const { id, content, special } of json.added_tokens ?? [])
    tokens[id] = { content, type: special === true ? tokenTypes.control : tokenTypes.userDefined };
  return tokens;
}

/** @param unknown SentencePiece's own; where words are bytes, nothing is unknown, and the name goes to another special token */
const typesOf = (tokens: readonly TokenById[], unknown: number | undefined): readonly number[] =>
  tokens.map(({ content, type }, id) => {
    if (id === unknown && type !== tokenTypes.userDefined) return tokenTypes.unknown;
    return type === tokenTypes.normal && isByte(content) ? tokenTypes.byte : type;
  });

/** How SentencePiece vocabularies spell a byte. */
const isByte = (content: string): boolean => /^<0x[0-9A-F]{2}>$/.test(content);

/** GPT-2's scheme: words by pattern, merges in the file. */
function byteLevel(
  json: TokenizerJson,
  ignoreMerges: boolean,
  merges: readonly string[],
  at: string,
): [string, GgufValue][] {
  const patterns = splitPatterns(json);
  const name = patterns && preTokenizerName(patterns, ignoreMerges);
  if (name === undefined) {
    const fix = 'Export to hf, which carries tokenizer.json as it is.';
    throw unsupported(at, 'pre_tokenizer', json.pre_tokenizer, fix);
  }
  return [
    ['tokenizer.ggml.pre', text(name)],
    ['tokenizer.ggml.merges', { type: 'array', items: 'string', value: merges }],
  ];
}

/** SentencePiece's scheme: merges by the score of what they make, so the earlier a merge the higher its score. */
function sentencePiece(
  json: TokenizerJson,
  tokens: readonly TokenById[],
  merges: readonly string[],
): [string, GgufValue][] {
  const rank = new Map<string, number>();
  for (const [index, merge] of merges.entries()) {
    const made = merge.replace(' ', '');
    if (!rank.has(made)) rank.set(made, index);
  }
  const scores = tokens.map(({ content, type }) =>
    type === tokenTypes.normal && !isByte(content) ? -(rank.get(content) ?? merges.length) : 0,
  );
  const prefixes = JSON.stringify([json.normalizer ?? null, json.pre_tokenizer ?? null]);
  const addsPrefix = /"Prepend"|"prepend_scheme":"(?:always|first)"/.test(prefixes);
  return [
    ['tokenizer.ggml.pre', text('default')],
    ['tokenizer.ggml.scores', { type: 'array', items: 'float32', value: scores }],
    ['tokenizer.ggml.add_space_prefix', { type: 'bool', value: addsPrefix }],
  ];
}

const tokenSchema = z
  .union([z.string(), z.looseObject({ content: z.string() }).transform((t) => t.content)])
  .nullish();
/** Loose: the file concerns transformers' classes. */
const configSchema = z.looseObject({
  bos_token: tokenSchema,
  eos_token: tokenSchema,
  unk_token: tokenSchema,
  pad_token: tokenSchema,
  chat_template: z.unknown().optional(),
});

/** Ids by role, of the tokenizer's two files, as far as they name them. */
export interface SpecialIds {
  readonly bos?: number | undefined;
  readonly eos?: number | undefined;
  readonly unk?: number | undefined;
  readonly pad?: number | undefined;
  readonly chatTemplate?: string | undefined;
}

/** What `tokenizer_config.json` says of special tokens, as ids. */
export function specialIds(
  configText: string,
  json: Pick<TokenizerJson, 'added_tokens' | 'model'>,
): SpecialIds {
  const at = 'tokenizer_config.json';
  const config = checkAgainst(configSchema, parseJson(configText, at), at, 'Download the file again.');
  const idOf = (content: string | null | undefined): number | undefined => {
    if (content === null || content === undefined) return undefined;
    const added = json.added_tokens?.find((token) => token.content === content)?.id;
    return added ?? (Array.isArray(json.model.vocab) ? undefined : json.model.vocab[content]);
  };
  return {
    bos: idOf(config.bos_token),
    eos: idOf(config.eos_token),
    unk: idOf(config.unk_token),
    pad: idOf(config.pad_token),
    ...(typeof config.chat_template === 'string' && { chatTemplate: config.chat_template }),
  };
}
