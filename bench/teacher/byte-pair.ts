/** Learns a byte-level BPE vocabulary (Sennrich et al., arXiv 1508.07909; bytes as in GPT-2) as a tokenizer.json. */

/** GPT-2's pre-tokenizer, which `ByteLevel` with `use_regex` stands for in tokenizer.json. */
const words = /'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+/gu;

/** The printable stand-in of each byte: itself where printable, else the next character from U+0100 on. */
const byteCharacters: readonly string[] = (() => {
  const printable = (byte: number): boolean => (byte >= 33 && byte <= 126) || (byte >= 161 && byte !== 173);
  let next = 256;
  return Array.from({ length: 256 }, (_, byte) => String.fromCodePoint(printable(byte) ? byte : next++));
})();

interface Word {
  symbols: number[];
  readonly count: number;
}

/** A tokenizer.json of `size` tokens: 256 bytes, then merges in the order learnt; nothing is unknown to it. */
export function trainTokenizer(text: string, size: number): object {
  const tokens = [...byteCharacters];
  const merges: string[] = [];
  const corpus = countWords(text);
  const counts = new Map<string, number>();
  for (const word of corpus) countPairs(word, counts, 1);
  while (tokens.length < size) {
    const [left, right] = mostFrequent(counts);
    merges.push(`${tokens[left]} ${tokens[right]}`);
    tokens.push(tokens[left]! + tokens[right]!);
    for (const word of corpus) {
      if (!containsPair(word.symbols, left, right)) continue;
      countPairs(word, counts, -1);
      word.symbols = merged(word.symbols, left, right, tokens.length - 1);
      countPairs(word, counts, 1);
    }
  }
  const byteLevel = { type: 'ByteLevel', add_prefix_space: false, trim_offsets: true, use_regex: true };
  return {
    version: '1.0',
    truncation: null,
    padding: null,
    added_tokens: [],
    normalizer: null,
    pre_tokenizer: byteLevel,
    post_processor: null,
    decoder: byteLevel,
    model: {
      type: 'BPE',
      dropout: null,
      unk_token: null,
      continuing_subword_prefix: null,
      end_of_word_suffix: null,
      fuse_unk: false,
      byte_fallback: false,
      vocab: Object.fromEntries(tokens.map((token, id) => [token, id])),
      merges,
    },
  };
}

function countWords(text: string): Word[] {
  const counts = new Map<string, number>();
  for (const [word] of text.matchAll(words)) counts.set(word, (counts.get(word) ?? 0) + 1);
  return [...counts].map(([word, count]) => ({ symbols: [...Buffer.from(word)], count }));
}

function countPairs({ symbols, count }: Word, counts: Map<string, number>, sign: 1 | -1): void {
  for (let i = 0; i + 1 < symbols.length; i++) {
    const pair = `${symbols[i]} ${symbols[i + 1]}`;
    counts.set(pair, (counts.get(pair) ?? 0) + sign * count);
  }
}

/** The most frequent pair; of equals the one met first, so that training is repeatable. */
function mostFrequent(counts: ReadonlyMap<string, number>): [number, number] {
  let best: [string, number] = ['', 0];
  for (const [pair, count] of counts) if (count > best[1]) best = [pair, count];
  if (best[1] === 0) throw new RangeError('the text is too short for a vocabulary of this size');
  const [left, right] = best[0].split(' ').map(Number);
  return [left!, right!];
}

const containsPair = (symbols: readonly number[], left: number, right: number): boolean =>
  symbols.some((symbol, i) => symbol === left && symbols[i + 1] === right);

function merged(symbols: readonly number[], left: number, right: number, token: number): number[] {
  const result: number[] = [];
  for (let i = 0; i < symbols.length; i++) {
    const isPair = symbols[i] === left && symbols[i + 1] === right;
    result.push(isPair ? token : symbols[i]!);
    if (isPair) i++;
  }
  return result;
}
