/**
 * Constraints as people write them in a search-space file or a file of their own, by the blocks' labels:
 *
 *     - { forbid: no-op, slot: ffn, layers: [0, 1, 76..79] }
 *     - { force: teacher, layers: [0] }
 *     - { equal: ffn }                          # one width for all layers
 *     - { count: attention, atLeast: 40 }       # layers that keep real attention
 *     - { differFrom: [kv8, '768', ...], atLeast: 16 }
 */
import { z } from 'zod';
import { PuzzleError } from '../util/errors.ts';
import type { Constraint, Group } from './problem.ts';
import type { Blocks, Scenario } from './scenario.ts';

const slot = z.enum(['attention', 'ffn']);
const layers = z
  .array(
    z.union([
      z.int().nonnegative(),
      z.string().regex(/^\d+\.\.\d+$/, 'write a layer number or a range like 76..79'),
    ]),
  )
  .optional();
const label = z.union([z.string().min(1), z.number().transform(String)]);
const counts = { atLeast: z.int().nonnegative().optional(), atMost: z.int().nonnegative().optional() };

/** One constraint. `slot` and `layers` narrow where it holds; absent, it holds everywhere. */
const constraintSchema = z.union([
  /** A block, by its label or an alternative's whole name; `teacher` is the teacher's. */
  z.strictObject({ forbid: label, slot: slot.optional(), layers }),
  z.strictObject({ force: label, slot: slot.optional(), layers }),
  z.strictObject({ equal: z.enum(['attention', 'ffn', 'layer']), layers }),
  /** A tag: `attention` or `ffn` for real blocks, `ffn:no-op`, `attention:kv1` for one kind. */
  z.strictObject({ count: z.string().min(1), ...counts, layers }),
  /** One alternative's name per group, in order; counts layers. */
  z.strictObject({ differFrom: z.array(label).min(1), ...counts }),
]);

export const constraintsSchema = z.array(constraintSchema);

export type WrittenConstraint = z.output<typeof constraintSchema>;

type Where = {
  readonly slot?: 'attention' | 'ffn' | undefined;
  readonly layers?: readonly (number | string)[] | undefined;
};

/** The scenario with written constraints added to its own. Throws as `translateConstraints`. */
export function constrained(scenario: Scenario, written: readonly WrittenConstraint[], at: string): Scenario {
  const constraints = [...scenario.problem.constraints, ...translateConstraints(written, scenario, at)];
  return { ...scenario, problem: { ...scenario.problem, constraints } };
}

/**
 * Translates constraints into the problem's terms.
 *
 * @param at the file, for errors.
 * @throws PuzzleError `bad-problem` on an unknown label, layer or tag, or on constraints that contradict each other.
 */
export function translateConstraints(
  written: readonly WrittenConstraint[],
  scenario: Pick<Scenario, 'problem' | 'blocks' | 'teacher'>,
  at: string,
): Constraint[] {
  const constraints = written.flatMap((constraint, c) => {
    const place = `${at}: ${c}`;
    if ('forbid' in constraint) return translateForbid(constraint, scenario, place);
    if ('force' in constraint) return translateForce(constraint, scenario, place);
    if ('equal' in constraint) return translateEqual(constraint, scenario, place);
    if ('count' in constraint) return translateCount(constraint, scenario, place);
    return translateDiffer(constraint, scenario, place);
  });
  refuseEmptyGroups(constraints, scenario.problem.groups, at);
  return constraints;
}

type Context = Pick<Scenario, 'problem' | 'blocks' | 'teacher'>;

function translateForbid(rule: Where & { forbid: string }, context: Context, at: string): Constraint[] {
  const found = matches(rule.forbid, rule, context, at);
  return found.flatMap(({ group, alternatives }) =>
    alternatives.map((alternative): Constraint => ({ kind: 'forbid', group, alternative })),
  );
}

/** One alternative left is a `force`; of pairs several may hold the block, then all others are forbidden. */
function translateForce(rule: Where & { force: string }, context: Context, at: string): Constraint[] {
  const found = matches(rule.force, rule, context, at);
  return found.flatMap(({ group, alternatives }): Constraint[] => {
    if (alternatives.length === 1) return [{ kind: 'force', group, alternative: alternatives[0]! }];
    const all = context.problem.groups[group]!.alternatives.map((_, a) => a);
    return all
      .filter((a) => !alternatives.includes(a))
      .map((alternative) => ({ kind: 'forbid', group, alternative }));
  });
}

function translateEqual(
  rule: { equal: 'attention' | 'ffn' | 'layer' } & Where,
  context: Context,
  at: string,
): Constraint[] {
  const { problem, blocks } = context;
  const inLayers = layerFilter(rule.layers, problem.groups, at);
  const own = problem.groups.flatMap((group, g) => {
    const { attention, ffn } = blocks[g]![0] ?? {};
    const isPair = attention !== undefined && ffn !== undefined;
    if (isPair && rule.equal !== 'layer') {
      fail(
        `${at}: the alternatives are pairs of attention and FFN, so one alone can't be held equal`,
        at,
        rule.equal,
        'Use { equal: layer }, or a library with attention and FFN apart.',
      );
    }
    const fits =
      rule.equal === 'layer' ? isPair || (attention ?? ffn) === undefined : blocks[g]![0]?.[rule.equal];
    return fits && inLayers(group) ? [g] : [];
  });
  if (own.length > 0) return own.length > 1 ? [{ kind: 'equal', groups: own }] : [];
  if (rule.equal === 'layer') {
    // Layers of separate groups are equal when each slot is.
    const slots = (['attention', 'ffn'] as const).filter((slot) => blocks.some((group) => group[0]?.[slot]));
    return slots.flatMap((slot) => translateEqual({ ...rule, equal: slot }, context, at));
  }
  return fail(`${at}: no group holds ${rule.equal}`, at, rule.equal, 'Name a slot that the problem has.');
}

function translateCount(
  rule: { count: string; atLeast?: number | undefined; atMost?: number | undefined } & Where,
  { problem }: Context,
  at: string,
): Constraint[] {
  const tags = new Set(
    problem.groups.flatMap((group) => group.alternatives.flatMap(({ tags }) => tags ?? [])),
  );
  if (!tags.has(rule.count)) {
    fail(
      `${at}: no alternative is a '${rule.count}'`,
      at,
      rule.count,
      `Count one of ${[...tags].join(', ')}.`,
    );
  }
  const inLayers = layerFilter(rule.layers, problem.groups, at);
  const layers = rule.layers && [...new Set(problem.groups.filter(inLayers).map(({ layer }) => layer))];
  return [{ kind: 'count', tag: rule.count, ...bounds(rule, at), ...(layers && { layers }) }];
}

function translateDiffer(
  rule: { differFrom: readonly string[]; atLeast?: number | undefined; atMost?: number | undefined },
  { problem: { groups } }: Context,
  at: string,
): Constraint[] {
  const { differFrom } = rule;
  if (differFrom.length !== groups.length) {
    fail(
      `${at}: ${differFrom.length} names for ${groups.length} groups`,
      at,
      differFrom,
      'Name one per group.',
    );
  }
  const from = groups.map(({ name, alternatives }, g) => {
    const position = alternatives.findIndex((alternative) => alternative.name === differFrom[g]);
    if (position >= 0) return position;
    return fail(
      `${at}: ${name} has no '${differFrom[g]}'`,
      at,
      differFrom[g],
      `Name one of ${alternatives.map((alternative) => alternative.name).join(', ')}.`,
    );
  });
  return [{ kind: 'differ', from, unit: 'layer', ...bounds(rule, at) }];
}

function bounds(
  { atLeast, atMost }: { readonly atLeast?: number | undefined; readonly atMost?: number | undefined },
  at: string,
): { atLeast?: number; atMost?: number } {
  if (atLeast === undefined && atMost === undefined) {
    fail(`${at}: neither atLeast nor atMost`, at, undefined, 'Say how many at least or at most.');
  }
  if (atLeast !== undefined && atMost !== undefined && atLeast > atMost) {
    fail(
      `${at}: at least ${atLeast} and at most ${atMost} contradict each other`,
      at,
      [atLeast, atMost],
      'Leave room.',
    );
  }
  return { ...(atLeast !== undefined && { atLeast }), ...(atMost !== undefined && { atMost }) };
}

/** The groups a rule speaks of and, in each, the alternatives that hold the block. */
function matches(
  wanted: string,
  { slot, layers }: Where,
  { problem, blocks, teacher }: Context,
  at: string,
): { readonly group: number; readonly alternatives: readonly number[] }[] {
  const inLayers = layerFilter(layers, problem.groups, at);
  const holds = (block: Blocks, name: string, teacherBlock: Blocks, teacherName: string): boolean => {
    const slots = slot === undefined ? (['attention', 'ffn'] as const) : [slot];
    if (wanted === 'teacher') {
      return slot === undefined
        ? name === teacherName
        : block[slot] !== undefined && block[slot] === teacherBlock[slot];
    }
    return (slot === undefined && name === wanted) || slots.some((s) => block[s] === wanted);
  };
  const found = problem.groups.flatMap((group, g) => {
    if (!inLayers(group)) return [];
    const own = teacher[g]!;
    const alternatives = group.alternatives.flatMap(({ name }, a) =>
      holds(blocks[g]![a]!, name, blocks[g]![own]!, group.alternatives[own]!.name) ? [a] : [],
    );
    return alternatives.length === 0 ? [] : [{ group: g, alternatives }];
  });
  if (found.length > 0) return found;
  const labels = new Set(
    blocks.flatMap((group) => group.flatMap((block) => Object.values(block) as string[])),
  );
  return fail(
    `${at}: no alternative ${slot === undefined ? '' : `of the ${slot} slot `}is '${wanted}'`,
    at,
    wanted,
    `Use teacher, a label (${[...labels].slice(0, 20).join(', ')}) or an alternative's whole name.`,
  );
}

function layerFilter(
  layers: readonly (number | string)[] | undefined,
  groups: readonly Group[],
  at: string,
): (group: Group) => boolean {
  if (layers === undefined) return () => true;
  const known = new Set(groups.map(({ layer }) => layer));
  const wanted = new Set(
    layers.flatMap((entry) => {
      const [from, to] = typeof entry === 'number' ? [entry, entry] : entry.split('..').map(Number);
      const unknown = [from!, to!].find((layer) => !known.has(layer));
      if (unknown !== undefined || from! > to!) {
        fail(`${at}: there is no layer ${unknown ?? entry}`, at, entry, `Layers go from ${span(known)}.`);
      }
      return Array.from({ length: to! - from! + 1 }, (_, i) => from! + i);
    }),
  );
  return ({ layer }) => wanted.has(layer);
}

const span = (known: ReadonlySet<number>): string => `${Math.min(...known)} to ${Math.max(...known)}`;

/** A group with nothing left to choose is a contradiction a user wrote, not an infeasible budget. */
function refuseEmptyGroups(constraints: readonly Constraint[], groups: readonly Group[], at: string): void {
  groups.forEach(({ name, alternatives }, g) => {
    const left = alternatives.filter((_, a) =>
      constraints.every(
        (constraint) =>
          (constraint.kind !== 'forbid' && constraint.kind !== 'force') ||
          constraint.group !== g ||
          (constraint.kind === 'force') === (constraint.alternative === a),
      ),
    );
    if (left.length === 0) {
      fail(
        `${at}: the constraints leave ${name} nothing to choose`,
        `${at}: ${name}`,
        undefined,
        'Drop one of them.',
      );
    }
  });
}

function fail(message: string, at: string, value: unknown, fix: string): never {
  throw new PuzzleError('bad-problem', message, { at, fix, ...(value !== undefined && { value }) });
}
