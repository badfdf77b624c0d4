/** The tokens that end a text. */
import { z } from 'zod';
import type { Tokenizer } from '../model/index.ts';

const configSchema = z.looseObject({
  eos_token: z.union([z.string(), z.looseObject({ content: z.string() })]).nullish(),
});

/** The id of the tokenizer's `eos_token`; none where it has none. */
export function endTokensOf(tokenizer: Tokenizer): readonly number[] {
  const { eos_token: token } = configSchema.parse(JSON.parse(tokenizer.files()['tokenizer_config.json']));
  if (token === undefined || token === null) return [];
  // A tokenizer that puts a token before every text puts it before this one too.
  const ids = tokenizer.encode(typeof token === 'string' ? token : token.content);
  const before = tokenizer.encode('').length;
  return Array.from(ids.slice(before, before + 1));
}
