/** Tokenizers of GGUF files, of every scheme and pattern we know, against llama.cpp. */
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { ggufTokenizer } from '../../src/model/gguf-tokenizer.ts';
import { createTokenizer, tokenizerToGguf } from '../../src/model/index.ts';
import { writeGguf, type GgufMetadata } from '../../src/tensor/index.ts';
import { ggufTokenizerMetadata, sentencePieceMetadata } from '../model/tiny-tokenizer.ts';
import { namedTensors, tinyArchitecture, tinyMetadata, tinyWeights } from '../model/tiny-model.ts';
import { temporaryFolder } from '../tensor/tensor-files.ts';
import { inLlamaCpp } from './llama-cpp.ts';

const folder = temporaryFolder();

const texts = [
  "The others gather together, and there it's said: we'll see; they've seen 1234567 of them in 2024.",
  'Two  spaces,   three, a\ttab,\na line,\n\n\ttwo lines \n and the end  ',
  'Über die Straße: naïve café, 中文字 and 🙂; ½ of ٣, x² + y³ = (z - 1) * 10 % 3 != "quoted" <= $5.00...',
  'snake_case camelCase ALLCAPS MixedCASE e-mail@example.org https://example.org/a?b=c&d=1',
  "IT'S THEY'LL 'S 's ''s don't",
  '<s>the others<s> rather',
];

async function compare(metadata: GgufMetadata, name: string): Promise<void> {
  const path = join(folder, `${name}.gguf`);
  const all = new Map([...tinyMetadata('llama'), ...metadata]);
  const vocabularySize = (metadata.get('tokenizer.ggml.tokens')!.value as readonly string[]).length;
  const { stream, slots } = tinyArchitecture('llama', true);
  const architecture = { stream: { ...stream, vocabularySize }, slots };
  await writeGguf(path, all, namedTensors(architecture, tinyWeights(architecture), 'gguf'));
  const tokenizer = ggufTokenizer(metadata, path);
  const sameTokens = (file: string): Promise<void> =>
    inLlamaCpp(file, { vocabOnly: true }, async (model) => {
      for (const text of texts) {
        const ours = Array.from(tokenizer.encode(text));
        expect(ours, text).toEqual(Array.from(model.tokenize(text, true)));
      }
    });
  await sameTokens(path);
  // As tokenizer.json, and from there into GGUF again.
  const json = createTokenizer(JSON.parse(tokenizer.files()['tokenizer.json']), path, tokenizer.files);
  const again = join(folder, `${name}-again.gguf`);
  const written = new Map([...tinyMetadata('llama'), ...tokenizerToGguf(json, vocabularySize, path)]);
  await writeGguf(again, written, namedTensors(architecture, tinyWeights(architecture), 'gguf'));
  await sameTokens(again);
}

test.each(['default', 'gpt-2', 'smollm', 'llama-bpe', 'dbrx', 'qwen2', 'tekken'])(
  'byte-pair encoding with the patterns of %s',
  async (pre) => {
    await expect(compare(ggufTokenizerMetadata(pre, false), pre)).resolves.toBeUndefined();
  },
);

test('SentencePiece', async () => {
  const metadata = new Map(sentencePieceMetadata);
  metadata.set('tokenizer.ggml.add_bos_token', { type: 'bool', value: false });
  await expect(compare(metadata, 'sentence-piece')).resolves.toBeUndefined();
});
