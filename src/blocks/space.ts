/** Search spaces: which alternatives each slot of a teacher gets, read from YAML. */
import { readFile, readdir } from 'node:fs/promises';
import { basename, extname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parse, YAMLParseError } from 'yaml';
import { z } from 'zod';
import type { Architecture, BlockConfig, Slot, StreamConfig } from '../model/architecture.ts';
import { constraintsSchema } from '../search/constraint-schema.ts';
import { PuzzleError } from '../util/errors.ts';
import { checkAgainst } from '../util/json.ts';
import { gqaSchema, type GqaConfig } from './gqa.ts';
import { blockKey, blockOf } from './registry.ts';
import { swigluSchema } from './swiglu.ts';

/** Below 1 a share of the teacher's, else the number itself. */
const size = z.union([z.number().gt(0).lt(1), z.int().positive()]);

/** One size, several, or every multiple of one below the teacher's. */
const sizes = z.union([size, z.array(size).min(1), z.strictObject({ every: size })]);

const alternative = z.union([
  z.enum(['teacher', 'linear', 'no-op']),
  /** FFN channels. */
  z.strictObject({ swiglu: sizes }),
  /** KV heads merged, all query heads kept; `divisors`: every smaller count that divides the teacher's. */
  z.strictObject({ kvHeads: z.union([size, z.literal('divisors')]) }),
  /** Heads dropped: so many query heads in so many KV groups. */
  z.strictObject({ queryHeads: z.int().positive(), kvHeads: z.int().positive() }),
  /** Heads dropped: `every` number of KV groups with every number of query heads in each, or those that divide. */
  z.strictObject({ heads: z.enum(['every', 'divisors']) }),
  /** The rank of a linear map; a share is one of the hidden size. */
  z.strictObject({ lowRank: sizes }),
]);
type Alternative = z.infer<typeof alternative>;

const alternatives = z.array(alternative).min(1);

const spaceSchema = z.strictObject({
  description: z.string().optional(),
  /** Relative FFN widths are rounded to a multiple of this. */
  widthMultiple: z.int().positive().default(64),
  /** Relative ranks are rounded to a multiple of this. */
  rankMultiple: z.int().positive().default(16),
  /** Whether blocks are trained by default: with dozens of alternatives a slot their closed forms are kept. */
  distil: z.boolean().default(true),
  attention: alternatives,
  ffn: alternatives,
  /** Layers with alternatives of their own; of several entries for a layer the last one counts. */
  overrides: z
    .array(
      z.strictObject({
        /** Layers and ranges `first..last`, both ends included; negative numbers count from the last layer. */
        layers: z
          .array(
            z.union([z.int(), z.string().regex(/^-?\d+\.\.-?\d+$/, 'write a layer or a range like 76..79')]),
          )
          .min(1),
        attention: alternatives.optional(),
        ffn: alternatives.optional(),
      }),
    )
    .default([]),
  /** What the search must respect besides budgets, by the blocks' labels. */
  constraints: constraintsSchema.default([]),
});

export interface SearchSpace extends z.infer<typeof spaceSchema> {
  /** The file it was read from. */
  readonly path: string;
}

const bundledFolder = fileURLToPath(new URL('../../search-spaces', import.meta.url));

/**
 * Reads a space by the name of a bundled one, or by its path.
 * @throws PuzzleError `file-missing`, `file-invalid`
 */
export async function loadSpace(nameOrPath: string): Promise<SearchSpace> {
  const isPath = /[/\\]|\.ya?ml$/i.test(nameOrPath);
  const path = isPath ? nameOrPath : join(bundledFolder, `${nameOrPath}.yaml`);
  let text: string;
  try {
    text = await readFile(path, 'utf8');
  } catch (cause) {
    throw new PuzzleError('file-missing', 'The search space cannot be read.', {
      at: path,
      value: nameOrPath,
      fix: `Name a YAML file or one of ${(await bundledSpaces()).join(', ')}.`,
      cause,
    });
  }
  return parseSpace(text, path);
}

/** Names of the spaces that come with the package. */
export const bundledSpaces = async (): Promise<readonly string[]> =>
  (await readdir(bundledFolder))
    .filter((file) => extname(file) === '.yaml')
    .map((file) => basename(file, '.yaml'));

/**
 * Checks the text of a space.
 * @throws PuzzleError `file-invalid` naming file, field and value.
 */
export function parseSpace(text: string, path: string): SearchSpace {
  let content: unknown;
  try {
    content = parse(text);
  } catch (cause) {
    if (!(cause instanceof YAMLParseError)) throw cause;
    throw new PuzzleError('file-invalid', 'The search space is no YAML.', {
      at: path,
      fix: cause.message,
      cause,
    });
  }
  const fix =
    'Alternatives are teacher, linear, no-op, {swiglu: 0.5}, {swiglu: [768, 384]}, {swiglu: {every: 64}}, ' +
    '{lowRank: 192} (as swiglu), {kvHeads: 1}, {kvHeads: divisors}, {queryHeads: 6, kvHeads: 3}, {heads: every}.';
  return { ...checkAgainst(spaceSchema, content, path, fix), path };
}

/**
 * The alternatives of every slot, in the space's order and without repetition. An alternative that some slots cannot
 * hold (a width above theirs) is left out there; one that none of the slots it is meant for can hold is a mistake.
 * @throws PuzzleError `file-invalid` naming file, field, value and reason.
 */
export function alternativesOf(
  space: SearchSpace,
  { slots, stream }: Architecture,
): readonly (readonly BlockConfig[])[] {
  const layerCount = 1 + Math.max(...slots.map(({ layer }) => layer));
  const overrides = space.overrides.map(({ layers }, index) => layersOf(space, index, layers, layerCount));
  /** For each field of the space, why its alternatives were refused; undefined once a slot took one. */
  const refusals = new Map<string, { readonly value: Alternative; reason: string | undefined }>();

  const groups = slots.map((slot) => {
    const { field, list } = listFor(space, overrides, slot);
    const configs = list.flatMap((value, index) => {
      const key = `${field}: ${index}`;
      const refusal = refusals.get(key) ?? { value, reason: 'no layer has such a slot' };
      refusals.set(key, refusal);
      const resolved = resolve(value, slot, stream, space);
      if (Array.isArray(resolved)) refusal.reason = undefined;
      else if (refusal.reason !== undefined) refusal.reason = resolved as string;
      return Array.isArray(resolved) ? (resolved as BlockConfig[]) : [];
    });
    return [...new Map(configs.map((config) => [blockKey(config), config])).values()];
  });
  for (const [field, { value, reason }] of refusals) {
    if (reason === undefined) continue;
    throw new PuzzleError(
      'file-invalid',
      `The search space names a block that no slot can hold: ${reason}.`,
      {
        at: `${space.path}: ${field}`,
        value,
        fix: 'Remove it, or give a value that the teacher allows.',
      },
    );
  }
  const empty = groups.findIndex((group) => group.length === 0);
  if (empty < 0) return groups;
  const { layer, kind } = slots[empty]!;
  throw new PuzzleError(
    'file-invalid',
    `The search space leaves the ${kind} of layer ${layer} without a block.`,
    {
      at: `${space.path}: ${kind}`,
      fix: 'Add `teacher` to its list.',
    },
  );
}

/** The list that holds for a slot, and its place in the file. */
function listFor(
  space: SearchSpace,
  overrides: readonly ReadonlySet<number>[],
  { layer, kind }: Slot,
): { readonly field: string; readonly list: readonly Alternative[] } {
  const index = space.overrides.findLastIndex(
    (entry, i) => entry[kind] !== undefined && overrides[i]!.has(layer),
  );
  const own = space.overrides[index]?.[kind];
  return own === undefined
    ? { field: kind, list: space[kind] }
    : { field: `overrides: ${index}: ${kind}`, list: own };
}

function layersOf(
  space: SearchSpace,
  index: number,
  entries: readonly (number | string)[],
  layerCount: number,
): ReadonlySet<number> {
  const layers = entries.flatMap((entry, i) => {
    const ends = typeof entry === 'number' ? [entry, entry] : entry.split('..').map(Number);
    const [first, last] = ends.map((end) => (end < 0 ? end + layerCount : end)) as [number, number];
    if (0 <= first && first <= last && last < layerCount) {
      return Array.from({ length: last - first + 1 }, (_, offset) => first + offset);
    }
    throw new PuzzleError('file-invalid', 'The search space names layers that the teacher does not have.', {
      at: `${space.path}: overrides: ${index}: layers: ${i}`,
      value: entry,
      fix: `The teacher's layers are 0..${layerCount - 1}.`,
    });
  });
  return new Set(layers);
}

/** How relative sizes are rounded. */
type Multiples = Pick<SearchSpace, 'widthMultiple' | 'rankMultiple'>;

/** The blocks that an alternative means in a slot, or why it means none there. */
function resolve(
  value: Alternative,
  slot: Slot,
  stream: StreamConfig,
  multiples: Multiples,
): readonly BlockConfig[] | string {
  if (value === 'teacher') return [slot.block];
  const wanted = candidates(value, slot, stream, multiples);
  if (typeof wanted === 'string') return wanted;
  const refusals = wanted.map((config) => refusal(config, slot, stream));
  const held = wanted.filter((_, index) => refusals[index] === undefined);
  return held.length > 0 || wanted.length === 0 ? held : refusals[0]!;
}

function candidates(
  value: Exclude<Alternative, 'teacher'>,
  { block }: Slot,
  { hidden }: StreamConfig,
  { widthMultiple, rankMultiple }: Multiples,
): readonly BlockConfig[] | string {
  if (value === 'linear' || value === 'no-op') return [{ kind: value }];
  if ('lowRank' in value)
    return sizesOf(value.lowRank, hidden, rankMultiple).map((rank) => ({ kind: 'low-rank', rank }));
  if ('swiglu' in value) {
    const teacher = swigluSchema.safeParse(block).data;
    if (teacher === undefined) return `a ${block.kind} has no FFN width`;
    return sizesOf(value.swiglu, teacher.width, widthMultiple).map((width) => ({ ...teacher, width }));
  }
  const teacher = gqaSchema.safeParse(block).data;
  if (teacher === undefined) return `a ${block.kind} has no KV heads`;
  if ('heads' in value) return headCounts(value.heads, teacher);
  if ('queryHeads' in value) {
    const { queryHeads: heads, kvHeads } = value;
    if (heads % kvHeads !== 0) return `${heads} query heads do not share ${kvHeads} KV heads evenly`;
    return [{ ...teacher, heads, kvHeads }];
  }
  const counts =
    value.kvHeads === 'divisors'
      ? below(teacher.kvHeads).filter((count) => teacher.kvHeads % count === 0)
      : [value.kvHeads >= 1 ? value.kvHeads : value.kvHeads * teacher.kvHeads];
  if (!counts.every(Number.isInteger))
    return `${counts[0]} of the teacher's ${teacher.kvHeads} KV heads is no whole number`;
  return counts.map((kvHeads) => ({ ...teacher, kvHeads }));
}

/** Sizes in numbers, largest first where they are `every`; shares that round to the whole or beyond are left out. */
function sizesOf(wanted: z.infer<typeof sizes>, whole: number, multiple: number): readonly number[] {
  const rounded = (share: number): number => multiple * Math.max(1, Math.round((share * whole) / multiple));
  if (typeof wanted === 'number' || Array.isArray(wanted))
    return [wanted].flat().flatMap((n) => {
      const number = n < 1 ? rounded(n) : n;
      return n < 1 && number >= whole ? [] : [number];
    });
  const { every } = wanted;
  const step = every < 1 ? every * whole : every;
  return below(Math.ceil(whole / step))
    .map((count) => (every < 1 ? rounded(count * every) : count * step))
    .filter((n) => n < whole);
}

/** Fewer KV groups, fewer query heads in each, or both; all but the teacher's own. */
function headCounts(which: 'every' | 'divisors', teacher: GqaConfig): readonly BlockConfig[] {
  const countsUpTo = (most: number): number[] =>
    below(most + 1).filter((count) => which === 'every' || most % count === 0);
  const all = countsUpTo(teacher.kvHeads).flatMap((kvHeads) =>
    countsUpTo(teacher.heads / teacher.kvHeads).map((perGroup) => ({ heads: kvHeads * perGroup, kvHeads })),
  );
  return all.filter(({ heads }) => heads < teacher.heads).map((counts) => ({ ...teacher, ...counts }));
}

/** n - 1, ..., 1. */
const below = (n: number): number[] => Array.from({ length: Math.max(0, n - 1) }, (_, i) => n - 1 - i);

function refusal(config: BlockConfig, slot: Slot, stream: StreamConfig): string | undefined {
  const block = blockOf(config);
  if (!block.slots.includes(slot.kind)) return `${config.kind} does not go into a slot for ${slot.kind}`;
  return block.refuses(config, slot.block, stream);
}
