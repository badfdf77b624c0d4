/** tokenizer.json: the parts that concern us, and the changes that make the library exact and linear on long texts. */
import { z } from 'zod';
import { byteLevelPattern, digitsPattern, startsWordsAtSpaces } from './pre-tokenizers.ts';

const component = z.looseObject({ type: z.string() });

/** Loose: components have many fields of their own, which the library reads. */
export const tokenizerJsonSchema = z.looseObject({
  normalizer: component.nullish(),
  pre_tokenizer: component.nullish(),
  post_processor: component.nullish(),
  decoder: component.nullish(),
  added_tokens: z
    .array(
      z.looseObject({
        id: z.int().nonnegative(),
        content: z.string(),
        special: z.boolean().optional(),
        lstrip: z.boolean().optional(),
        rstrip: z.boolean().optional(),
      }),
    )
    .nullish(),
  model: z.looseObject({
    type: z.string().optional(),
    vocab: z.union([z.record(z.string(), z.int().nonnegative()), z.array(z.unknown())]),
  }),
});
export type TokenizerJson = z.infer<typeof tokenizerJsonSchema>;

type Component = z.infer<typeof component>;

/** Cuts a text at every match of a pattern; both the matches and what lies between are pieces. */
export const splitComponent = (pattern: string): Component => ({
  type: 'Split',
  pattern: { Regex: pattern },
  behavior: 'Isolated',
  invert: false,
});

/** A tokenizer.json with the same meaning, in the components that the library gets right and does fast. */
export function prepared(json: TokenizerJson): TokenizerJson & { added_tokens: object[] } {
  const { normalizer = null, post_processor = null, decoder = null } = json;
  const preTokenizers = (json.pre_tokenizer ? flattened(json.pre_tokenizer) : []).flatMap(exact);
  if (joinsSpaces(json, preTokenizers) && !hasTokensAcrossSpaces(json.model.vocab)) {
    preTokenizers.push(splitComponent('▁*[^▁]+|▁+'));
  }
  return {
    ...json,
    normalizer,
    post_processor,
    decoder,
    pre_tokenizer: preTokenizers.length === 0 ? null : { type: 'Sequence', pretokenizers: preTokenizers },
    added_tokens: json.added_tokens ?? [],
    model: { ...json.model, unk_token: json.model.unk_token ?? withoutId },
  };
}

/** Stands for what has no token in a model without an unknown-token: the library, which drops it, then gives no id. */
const withoutId = '\u0000no token';

/** A sequence of sequences as one list. */
function flattened(step: Component): Component[] {
  const parts = step.type === 'Sequence' ? z.array(component).safeParse(step.pretokenizers).data : undefined;
  return parts === undefined ? [step] : parts.flatMap(flattened);
}

/** Steps whose built-in patterns JavaScript reads differently (its digits are ASCII, its spaces its own), spelt out. */
function exact(step: Component): Component[] {
  if (step.type === 'Digits') return [splitComponent(digitsPattern(step.individual_digits === true))];
  if (step.type === 'ByteLevel' && step.use_regex !== false && step.add_prefix_space !== true) {
    return [splitComponent(byteLevelPattern), { ...step, use_regex: false }];
  }
  return [step];
}

/** Whether spaces become ▁ and a whole text reaches byte-pair encoding as one word (SentencePiece models). */
const joinsSpaces = (json: TokenizerJson, preTokenizers: readonly Component[]): boolean =>
  json.model.type === 'BPE' &&
  (preTokenizers.length === 0
    ? JSON.stringify(json.normalizer ?? null).includes('▁')
    : preTokenizers.length === 1 &&
      preTokenizers[0]!.type === 'Metaspace' &&
      preTokenizers[0]!.split === false);

/**
 * Whether any token goes on from another character into ▁. If none does, no merge crosses that place (what merges
 * make is a token), so words cut there get the same tokens as the whole text.
 */
const hasTokensAcrossSpaces = (vocab: TokenizerJson['model']['vocab']): boolean =>
  Object.keys(vocab).some((token) => /[^▁]▁/.test(token));

/** The pattern of a `Split` whose matches and the rest are all pieces. */
function isolatedPattern({ type, pattern, behavior, invert }: Component): string | undefined {
  if (type !== 'Split' || behavior !== 'Isolated' || invert === true) return undefined;
  return z.strictObject({ Regex: z.string() }).safeParse(pattern).data?.Regex;
}

/** Whether a text may be cut at the space between two letters and its parts encoded alone. */
export function mayBeCutAtSpaces(json: TokenizerJson): boolean {
  const steps = json.pre_tokenizer ? flattened(json.pre_tokenizer).flatMap(exact) : [];
  const splits = steps.filter(({ type }) => type === 'Split');
  return (
    splits.length > 0 &&
    splits.every((split) => {
      const pattern = isolatedPattern(split);
      return pattern !== undefined && startsWordsAtSpaces(pattern);
    }) &&
    steps.every(({ type, add_prefix_space }) =>
      type === 'ByteLevel' ? add_prefix_space !== true : type === 'Split',
    ) &&
    // Composition never reaches across a space (Unicode Annex 15); other normalizers may look at the whole text.
    (!json.normalizer || json.normalizer.type === 'NFC') &&
    (json.added_tokens ?? []).every(
      ({ content, lstrip, rstrip }) => lstrip !== true && rstrip !== true && !/\s/.test(content),
    )
  );
}

/**
 * The patterns that cut a text, one after the other, before a byte-level encoding; undefined where the steps are not of
 * that kind.
 */
export function splitPatterns(json: TokenizerJson): readonly string[] | undefined {
  const steps = json.pre_tokenizer ? flattened(json.pre_tokenizer).flatMap(exact) : [];
  const byteLevel = steps.at(-1);
  if (byteLevel?.type !== 'ByteLevel' || byteLevel.use_regex !== false || byteLevel.add_prefix_space === true)
    return undefined;
  const patterns = steps.slice(0, -1).map(isolatedPattern);
  return patterns.every((pattern) => pattern !== undefined) ? patterns : undefined;
}
