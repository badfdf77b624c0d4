/** Where a command's scenario comes from: a block library, a run's folder, its problem.json, or a search result. */
import { resolve } from 'node:path';
import { stat } from 'node:fs/promises';
import type { Options } from 'yargs';
import { z } from 'zod';
import {
  constrained,
  constraintsSchema,
  readBlockLibrary,
  readProblemFile,
  solverNames,
  type Budget,
  type Scenario,
  type SolveOptions,
  type SolverName,
  type WrittenConstraint,
} from '../search/index.ts';
import { PuzzleError } from '../util/errors.ts';
import { checkAgainst, parseJson } from '../util/json.ts';
import { readText } from '../tensor/index.ts';
import { parseAmount, type Quantity } from '../util/units.ts';
import { budgetOptions, wholeNumber } from './options.ts';

/** Flags that say which question is asked of a library. */
export const libraryOptions = {
  library: {
    type: 'string',
    describe: 'Search a block library JSON: { layer: { variant: { stats, metrics } } }',
  },
  objective: {
    type: 'string',
    describe:
      "With --library: the metric whose sum over layers is minimised (default: kl_div; lm_loss, or the library's own)",
  },
  maximise: { type: 'boolean', describe: 'With --library: more of the metric is better' },
  constraints: { type: 'string', describe: 'YAML or JSON list of constraints (docs/search.md)' },
} as const satisfies Record<string, Options>;

/** For throughput of a library's runtimes, which hold for one batch. No defaults: a guess would look like a fact. */
const libraryWorkloadOptions = {
  batch: { type: 'number', describe: 'With --library: sequences in the batch its runtimes were measured at' },
  input: { type: 'number', describe: 'With --library: tokens per sequence' },
} as const satisfies Record<string, Options>;

export const solverOptions = {
  solver: {
    type: 'string',
    choices: ['auto', ...solverNames] as const,
    default: 'auto' as const,
    describe: 'auto: our exact solver where the problem has its shape, else HiGHS',
  },
  'time-limit': { type: 'string', describe: 'Stop a solve after this long with the gap proven so far: 10s' },
} as const satisfies Record<string, Options>;

/** All flags of a command that works on a scenario, beside its `[result]`. */
export const scenarioOptions = {
  ...libraryOptions,
  ...budgetOptions,
  ...libraryWorkloadOptions,
  ...solverOptions,
} as const satisfies Record<string, Options>;

export interface ScenarioArguments {
  readonly result?: string | undefined;
  readonly library?: string | undefined;
  readonly objective?: string | undefined;
  readonly maximise?: boolean | undefined;
  readonly constraints?: string | undefined;
  readonly batch?: number | undefined;
  readonly input?: number | undefined;
  readonly memory?: string | undefined;
  readonly latency?: string | undefined;
  readonly throughput?: string | undefined;
  readonly params?: string | undefined;
}

export interface Source {
  readonly scenario: Scenario;
  /** What the run or result was searched under; flags of the same measure replace it. */
  readonly savedBudgets: readonly Budget[];
  /** From flags. */
  readonly givenBudgets: readonly Budget[];
  /** The exact inputs, for the `source` of a result document; undefined where a run's problem.json holds them. */
  readonly inputs: LibraryInputs | undefined;
}

/** What a search result says about where it came from, enough to ask the question again. */
const libraryInputsSchema = z.strictObject({
  library: z.string(),
  objective: z.string(),
  maximise: z.boolean(),
  constraints: z.string().optional(),
  batch: z.number().optional(),
  input: z.number().optional(),
  budgets: z.strictObject({
    memory: z.string().optional(),
    latency: z.string().optional(),
    throughput: z.string().optional(),
    params: z.string().optional(),
  }),
});
type LibraryInputs = z.output<typeof libraryInputsSchema>;

/** @throws PuzzleError on a missing or invalid file, a bad unit, or when neither a result nor a library is named. */
export async function loadSource(args: ScenarioArguments): Promise<Source> {
  if (args.library !== undefined && args.result !== undefined) {
    throw new PuzzleError('bad-usage', 'both a result and --library', { fix: 'Name one of them.' });
  }
  if (args.library !== undefined) return loadLibrary(args, args.library);
  if (args.result !== undefined) return loadResult(args, args.result);
  throw new PuzzleError('bad-usage', 'nothing to work on', {
    fix: 'Name a results folder, a search result, or --library FILE.',
  });
}

/** Saved budgets under those from flags. */
export function allBudgets({ savedBudgets, givenBudgets }: Source): readonly Budget[] {
  const given = new Set(givenBudgets.map(({ measure }) => measure));
  return [...savedBudgets.filter(({ measure }) => !given.has(measure)), ...givenBudgets];
}

export function solveOptionsOf(args: {
  readonly solver?: SolverName | 'auto' | undefined;
  readonly timeLimit?: string | undefined;
}): SolveOptions {
  const { solver = 'auto', timeLimit } = args;
  if (timeLimit === undefined) return { solver };
  const amount = parseAmount(timeLimit, 'duration', '--time-limit');
  if (amount.kind === 'relative') {
    throw new PuzzleError('bad-unit', `--time-limit ${timeLimit}: takes a time`, {
      at: '--time-limit',
      value: timeLimit,
      fix: 'Write it like 10s or 500ms.',
    });
  }
  return { solver, timeLimitMs: amount.value };
}

/** Flag, measure, quantity. */
const budgetFlags: readonly (readonly ['memory' | 'latency' | 'throughput' | 'params', string, Quantity])[] =
  [
    ['memory', 'memory', 'bytes'],
    ['latency', 'latency', 'duration'],
    ['throughput', 'throughput', 'rate'],
    ['params', 'parameters', 'count'],
  ];

/** The measure that a user means by a flag's name: `params` is `parameters`. */
export function measureOfFlag(name: string): string {
  return budgetFlags.find(([flag]) => flag === name)?.[1] ?? name;
}

export function budgetsFrom(args: Pick<ScenarioArguments, (typeof budgetFlags)[number][0]>): Budget[] {
  return budgetFlags.flatMap(([flag, measure, quantity]) => {
    const text = args[flag];
    return text === undefined ? [] : [{ measure, limit: parseAmount(text, quantity, `--${flag}`) }];
  });
}

async function loadLibrary(args: ScenarioArguments, path: string): Promise<Source> {
  const { objective = 'kl_div', maximise = false, batch, input, constraints } = args;
  const givenBudgets = budgetsFrom(args);
  const tokens =
    batch === undefined || input === undefined
      ? undefined
      : wholeNumber(batch, 'batch') * wholeNumber(input, 'input');
  if (args.throughput !== undefined && tokens === undefined) {
    throw new PuzzleError('bad-usage', '--throughput needs --batch and --input', {
      at: '--throughput',
      value: args.throughput,
      fix: "Say the batch and the tokens per sequence that the library's runtimes are for.",
    });
  }
  const json = parseJson(await readText(path), path);
  const scenario = readBlockLibrary(json, path, {
    metric: objective,
    sense: maximise ? 'maximise' : 'minimise',
    ...(tokens !== undefined && { tokens }),
  });
  const { memory, latency, throughput, params } = args;
  return {
    scenario: await withConstraints(scenario, constraints),
    savedBudgets: [],
    givenBudgets,
    inputs: {
      library: resolve(path),
      objective,
      maximise,
      ...(constraints !== undefined && { constraints: resolve(constraints) }),
      ...(batch !== undefined && { batch }),
      ...(input !== undefined && { input }),
      budgets: { memory, latency, throughput, params },
    },
  };
}

async function withConstraints(scenario: Scenario, path: string | undefined): Promise<Scenario> {
  return path === undefined ? scenario : constrained(scenario, await readConstraints(path), path);
}

/** @throws PuzzleError `file-missing`, `file-invalid` naming the place */
export async function readConstraints(path: string): Promise<readonly WrittenConstraint[]> {
  const { parse } = await import('yaml');
  const text = await readText(path);
  let content: unknown;
  try {
    content = parse(text);
  } catch (cause) {
    throw new PuzzleError('file-invalid', `${path} is no YAML: ${(cause as Error).message}`, {
      at: path,
      fix: 'Give a YAML list of constraints.',
      cause,
    });
  }
  return checkAgainst(constraintsSchema, content, path, 'See docs/search.md for the constraints there are.');
}

async function loadResult(args: ScenarioArguments, path: string): Promise<Source> {
  const isFolder = await stat(path).then(
    (entry) => entry.isDirectory(),
    () => false,
  );
  const file = isFolder ? `${path}/problem.json` : path;
  const json = parseJson(await readText(file), file);
  const document = z.looseObject({ schema: z.string().optional(), source: z.unknown() }).safeParse(json);
  if (document.data?.schema === 'puzzle/search-result@1') {
    const inputs = checkAgainst(
      libraryInputsSchema,
      document.data.source,
      `${file}: source`,
      'Give the --json output of `puzzle search --library`, or the results folder of a run.',
    );
    const { budgets, ...rest } = inputs;
    const saved = await loadLibrary({ ...rest, ...budgets }, inputs.library);
    const again = { ...rest, budgets: { ...budgets, ...definedBudgets(args) } };
    return {
      scenario: await withConstraints(saved.scenario, args.constraints),
      savedBudgets: saved.givenBudgets,
      givenBudgets: budgetsFrom(args),
      inputs: again,
    };
  }
  const { scenario, budgets } = readProblemFile(json, file);
  return {
    scenario: await withConstraints(scenario, args.constraints),
    savedBudgets: budgets,
    givenBudgets: budgetsFrom(args),
    inputs: undefined,
  };
}

function definedBudgets(args: ScenarioArguments): Record<string, string> {
  return Object.fromEntries(
    budgetFlags.flatMap(([flag]) => (args[flag] === undefined ? [] : [[flag, args[flag]] as const])),
  );
}
