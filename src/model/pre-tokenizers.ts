/**
 * How texts are cut into words before byte-pair encoding: the patterns in use, under the names that GGUF gives them.
 * Patterns are those of the models' own tokenizer.json; digits and spaces are Unicode's, as in the tokenizers that
 * the models were trained with.
 */

const gpt2 = String.raw`'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+`;
const contractions = `(?:'[sS]|'[tT]|'[rR][eE]|'[vV][eE]|'[mM]|'[lL][lL]|'[dD])`;
const theirContractions = "(?i:'s|'t|'re|'ve|'m|'ll|'d)";
const modern = (digits: string): string =>
  String.raw`${contractions}|[^\r\n\p{L}\p{N}]?\p{L}+|${digits}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+`;
const anyDigit = String.raw`\p{N}`;
const llama3 = modern(String.raw`\p{N}{1,3}`);
const qwen2 = modern(anyDigit);
const upper = String.raw`[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]`;
const lower = String.raw`[\p{Ll}\p{Lm}\p{Lo}\p{M}]`;
const tekken = String.raw`[^\r\n\p{L}\p{N}]?${upper}*${lower}+|[^\r\n\p{L}\p{N}]?${upper}+${lower}*|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+`;

export interface PreTokenizer {
  /** Applied one after the other, each to the pieces that the one before left; what no pattern matches is a piece too. */
  readonly patterns: readonly string[];
  /** Whether a word that is a token of its own is never built by merges. */
  readonly ignoreMerges: boolean;
  /** Whether a text starts with the BOS token where the file does not say. */
  readonly addBos: boolean;
}

const preTokenizer = (patterns: readonly string[], takesWholeWords = false): PreTokenizer => ({
  patterns,
  ignoreMerges: takesWholeWords,
  addBos: takesWholeWords,
});

const split = preTokenizer([anyDigit, gpt2]);

/** By `tokenizer.ggml.pre`. */
export const preTokenizers: Readonly<Record<string, PreTokenizer>> = {
  default: preTokenizer([String.raw`[\p{P}\$\+<=>\^~\|]+`, gpt2, String.raw`\p{N}+`, '[0-9][0-9][0-9]']),
  'gpt-2': preTokenizer([gpt2]),
  'phi-2': preTokenizer([gpt2]),
  olmo: preTokenizer([gpt2]),
  mpt: preTokenizer([gpt2]),
  smollm: split,
  starcoder: split,
  refact: split,
  'command-r': split,
  codeshell: split,
  'llama-bpe': preTokenizer([llama3], true),
  dbrx: preTokenizer([llama3]),
  'smaug-bpe': preTokenizer([llama3]),
  qwen2: preTokenizer([qwen2]),
  stablelm2: preTokenizer([qwen2]),
  'deepseek-r1-qwen': preTokenizer([qwen2]),
  tekken: preTokenizer([tekken], true),
};

/** Applied by the `ByteLevel` pre-tokenizer of tokenizer.json unless it says `use_regex: false`. */
export const byteLevelPattern = gpt2;

/** Applied by the `Digits` pre-tokenizer of tokenizer.json. */
export const digitsPattern = (individually: boolean): string =>
  individually ? anyDigit : String.raw`\p{N}+`;

/**
 * Patterns under which a word always starts at the space between two letters. None of their alternatives goes on from
 * a letter into a space, each takes a space and a letter together from the space on, and none looks behind; so a text
 * cut there gives the same pieces as the whole.
 */
const wordPatterns: ReadonlySet<string> = new Set([
  ...Object.values(preTokenizers).flatMap(({ patterns }) => patterns),
  digitsPattern(false),
  // As tokenizer.json of Llama 3 and of Qwen 2 write them.
  llama3.replace(contractions, theirContractions),
  qwen2.replace(contractions, theirContractions),
]);

/** Whether a text may be cut at the space between two letters, see {@link wordPatterns}. */
export const startsWordsAtSpaces = (pattern: string): boolean => wordPatterns.has(pattern);

/** The name under which llama.cpp knows these patterns, the commonest where several mean the same. */
export const preTokenizerName = (patterns: readonly string[], ignoreMerges: boolean): string | undefined => {
  const wanted = patterns.map((pattern) => pattern.replace(theirContractions, contractions));
  return Object.entries(preTokenizers).find(
    ([, known]) => known.ignoreMerges === ignoreMerges && known.patterns.join('\0') === wanted.join('\0'),
  )?.[0];
};
