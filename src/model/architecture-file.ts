/** `architecture.json`: an architecture as a file, checked when it enters. */
import { z } from 'zod';
import { checkAgainst, parseJson } from '../util/json.ts';
import type { Architecture } from './architecture.ts';

const count = z.int().positive();
const finite = z.number().positive();

const streamSchema = z.strictObject({
  family: z.string(),
  vocabularySize: count,
  hidden: count,
  normEpsilon: finite,
  ropeTheta: finite,
  ropeScaling: z
    .strictObject({
      factor: finite,
      lowFrequencyFactor: finite,
      highFrequencyFactor: finite,
      originalContextLength: count,
    })
    .exactOptional(),
  tiedEmbeddings: z.boolean(),
  contextLength: count,
});

/** Blocks check their own fields (`src/blocks`); here they only have to be flat. */
const blockSchema = z.object({ kind: z.string() }).catchall(z.union([z.string(), z.number(), z.boolean()]));

/** What `architecture.json` holds. */
const architectureSchema = z.strictObject({
  schema: z.literal('puzzle/architecture@1'),
  stream: streamSchema,
  slots: z.array(
    z.strictObject({ layer: z.int().nonnegative(), kind: z.enum(['attention', 'ffn']), block: blockSchema }),
  ),
});

/** The text of `architecture.json`. */
export const formatArchitecture = ({ stream, slots }: Architecture): string =>
  `${JSON.stringify({ schema: 'puzzle/architecture@1', stream, slots }, undefined, 2)}\n`;

/** Reads the text of `architecture.json`. Throws `file-invalid` naming the field of `path` at fault. */
export function parseArchitecture(text: string, path: string): Architecture {
  const fix = 'Use an architecture.json that puzzle wrote.';
  const { stream, slots } = checkAgainst(architectureSchema, parseJson(text, path), path, fix);
  return { stream, slots };
}
