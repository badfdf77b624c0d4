/**
 * `problem.json`: a scenario and the budgets it was searched under, as a run leaves it and `explain`, `whatif`,
 * `front` and `compare` read it. All numbers in base units: bytes, milliseconds, tokens per second, pieces.
 */
import { z } from 'zod';
import { PuzzleError } from '../util/errors.ts';
import { checkAgainst } from '../util/json.ts';
import type { Problem } from './problem.ts';
import { tagsOf, type Budget, type Scenario } from './scenario.ts';
import { validate } from './validate.ts';

const problemFileSchemaName = 'puzzle/problem@1';

export interface ProblemFile {
  readonly scenario: Scenario;
  readonly budgets: readonly Budget[];
}

const index = z.int().nonnegative();
const limits = { atLeast: index.optional(), atMost: index.optional() };

const constraintSchema = z.discriminatedUnion('kind', [
  z.strictObject({ kind: z.literal('forbid'), group: index, alternative: index }),
  z.strictObject({ kind: z.literal('force'), group: index, alternative: index }),
  z.strictObject({
    kind: z.literal('differ'),
    from: z.array(index),
    ...limits,
    unit: z.enum(['group', 'layer']).optional(),
  }),
  z.strictObject({ kind: z.literal('count'), tag: z.string(), ...limits, layers: z.array(index).optional() }),
  z.strictObject({ kind: z.literal('equal'), groups: z.array(index) }),
]);

const quantity = z.enum(['bytes', 'duration', 'rate', 'count', 'score']);

const fileSchema = z.strictObject({
  schema: z.literal(problemFileSchemaName),
  objective: z.strictObject({
    metric: z.string(),
    sense: z.enum(['minimise', 'maximise']),
    fixed: z.number().optional(),
  }),
  resources: z.array(
    z.strictObject({
      name: z.string(),
      fixed: z.number(),
      lower: z.number().optional(),
      upper: z.number().optional(),
    }),
  ),
  /** `resource` by name; a rate has the tokens made while the resource's total (milliseconds) passes. */
  measures: z.array(
    z.strictObject({
      name: z.string(),
      quantity,
      resource: z.string(),
      tokens: z.number().positive().optional(),
    }),
  ),
  constraints: z.array(constraintSchema),
  groups: z.array(
    z.strictObject({
      name: z.string(),
      layer: index,
      /** Name of the alternative that is the teacher's. */
      teacher: z.string(),
      alternatives: z.array(
        z.strictObject({
          name: z.string(),
          attention: z.string().optional(),
          ffn: z.string().optional(),
          score: z.number(),
          /** The score of each held-out sample; all alternatives of all groups have as many, or none has any. */
          samples: z.array(z.number()).optional(),
          /** In the order of `resources`. */
          uses: z.array(z.number()),
          /** What `count` constraints refer to; from the blocks' labels if absent. */
          tags: z.array(z.string()).optional(),
        }),
      ),
    }),
  ),
  teacherChosenBy: z.string(),
  budgets: z.array(z.strictObject({ measure: z.string(), limit: z.number() })),
});

type FileContent = z.output<typeof fileSchema>;

/** The document of a scenario under budgets; `limit`s are resolved numbers in base units. */
export function toProblemFile(
  { problem, measures, blocks, teacher, teacherChosenBy, samples }: Scenario,
  budgets: readonly { readonly measure: string; readonly limit: number }[],
): z.input<typeof fileSchema> {
  return {
    schema: problemFileSchemaName,
    objective: problem.objective,
    resources: [...problem.resources],
    measures: measures.map(({ resource, ...rest }) => ({
      ...rest,
      resource: problem.resources[resource]!.name,
    })),
    constraints: problem.constraints as FileContent['constraints'],
    groups: problem.groups.map(({ name, layer, alternatives }, g) => ({
      name,
      layer,
      teacher: alternatives[teacher[g]!]!.name,
      alternatives: alternatives.map(({ name, score, uses, tags }, a) => ({
        name,
        ...blocks[g]![a],
        score,
        ...(samples && { samples: [...samples[g]![a]!] }),
        uses: [...uses],
        ...(tags && { tags: [...tags] }),
      })),
    })),
    teacherChosenBy,
    budgets: [...budgets],
  };
}

/**
 * Reads the parsed document back.
 *
 * @throws PuzzleError `file-invalid` naming the field, `bad-problem` where the numbers make no problem.
 */
export function readProblemFile(json: unknown, at: string): ProblemFile {
  const file = checkAgainst(fileSchema, json, at, 'Give a problem.json that a run of puzzle wrote.');
  const problem: Problem = {
    groups: file.groups.map(({ name, layer, alternatives }) => ({
      name,
      layer,
      alternatives: alternatives.map(({ name, score, uses, tags, attention, ffn }) => ({
        name,
        score,
        uses,
        tags: tags ?? tagsOf(blocksOf({ attention, ffn })),
      })),
    })),
    resources: file.resources.map(withoutUndefined),
    objective: withoutUndefined(file.objective),
    constraints: file.constraints.map(withoutUndefined),
  };
  validate(problem);
  const samples = readSamples(file, at);
  return {
    scenario: {
      problem,
      measures: file.measures.map(({ resource, ...rest }, m) => ({
        ...withoutUndefined(rest),
        resource: positionOf(file.resources, resource, `${at}: measures: ${m}: resource`),
      })),
      blocks: file.groups.map(({ alternatives }) => alternatives.map(blocksOf)),
      teacher: file.groups.map(({ name, alternatives, teacher }) =>
        positionOf(alternatives, teacher, `${at}: groups: ${name}: teacher`),
      ),
      teacherChosenBy: file.teacherChosenBy,
      ...(samples && { samples }),
    },
    budgets: file.budgets.map(({ measure, limit }) => ({
      measure,
      limit: { kind: 'absolute', value: limit },
    })),
  };
}

function blocksOf(labels: { attention?: string | undefined; ffn?: string | undefined }): {
  attention?: string;
  ffn?: string;
} {
  const { attention, ffn } = labels;
  return withoutUndefined({ attention, ffn });
}

/** zod's optional fields may hold `undefined`; ours may only be absent. */
function withoutUndefined<T extends object>(value: T): { [K in keyof T]: Exclude<T[K], undefined> } {
  return Object.fromEntries(Object.entries(value).filter(([, field]) => field !== undefined)) as {
    [K in keyof T]: Exclude<T[K], undefined>;
  };
}

function positionOf(items: readonly { readonly name: string }[], name: string, at: string): number {
  const position = items.findIndex((item) => item.name === name);
  if (position < 0) {
    throw new PuzzleError('file-invalid', `${at}: there is no '${name}'`, {
      at,
      value: name,
      fix: `Name one of ${items.map((item) => item.name).join(', ')}.`,
    });
  }
  return position;
}

function readSamples({ groups }: FileContent, at: string): readonly (readonly Float64Array[])[] | undefined {
  const counts = groups.flatMap(({ name, alternatives }) =>
    alternatives.map(({ name: alternative, samples }) => ({
      at: `${at}: groups: ${name}: ${alternative}`,
      samples,
    })),
  );
  if (counts.every(({ samples }) => samples === undefined)) return undefined;
  const count = counts[0]?.samples?.length;
  const odd = counts.find(
    ({ samples }) => samples === undefined || samples.length === 0 || samples.length !== count,
  );
  if (odd !== undefined) {
    throw new PuzzleError(
      'file-invalid',
      `${odd.at}: ${odd.samples?.length ?? 'no'} samples, elsewhere ${count}`,
      {
        at: odd.at,
        fix: 'Give every alternative the score of every sample.',
      },
    );
  }
  return groups.map(({ alternatives }) => alternatives.map(({ samples }) => Float64Array.from(samples!)));
}
