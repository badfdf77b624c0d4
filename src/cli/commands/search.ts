/** `puzzle search`: the main job on a model, or with `--library` the search alone. */
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { Argv } from 'yargs';
import {
  damageMetrics,
  scoreMethods,
  type Prepared,
  type ScoreMethod,
  type SearchRequest,
  type Store,
  type TrainingBudget,
} from '../../pipeline/index.ts';
import { writeFileAtomically } from '../../util/atomic-file.ts';
import { PuzzleError } from '../../util/errors.ts';
import type { Json } from '../../util/hash.ts';
import { defineCommand, type CommandContext, type GlobalOptions } from '../command.ts';
import { budgetOptions, hardwareOption, wholeNumber, workloadOptions } from '../options.ts';
import { runOptions, withPreparedRun } from '../run-options.ts';
import {
  budgetsFrom,
  libraryOptions,
  readConstraints,
  solverOptions,
  solveOptionsOf,
} from '../scenario-source.ts';
import { batchesFrom } from '../batches.ts';
import { diversityOf, searchLibrary, searchOptions } from './search-library.ts';
import { version } from '../version.ts';
import { workloadFrom } from '../workload.ts';

/** Budget of a search that names none: a student clearly smaller, and still close to its teacher. */
const defaultBudget = { measure: 'parameters', limit: { kind: 'relative', factor: 0.8 } } as const;

function minutesFrom(value: number, flag: string, purpose: string): number {
  if (value >= 0) return value;
  throw new PuzzleError('bad-usage', `--${flag} takes a number of at least 0.`, {
    at: `--${flag}`,
    value,
    fix: `Give --${flag} the time that ${purpose} may take.`,
  });
}

/** What gradient steps may take; nothing where none are asked for. */
function trainingFrom({ trainMinutes, trainTokens }: Arguments): { training?: TrainingBudget } {
  if (trainMinutes !== undefined && trainTokens !== undefined)
    throw new PuzzleError('bad-usage', 'Both --train-minutes and --train-tokens.', {
      at: '--train-tokens',
      fix: 'Give one of them.',
    });
  if (trainMinutes !== undefined)
    return {
      training: { unit: 'seconds', amount: 60 * minutesFrom(trainMinutes, 'train-minutes', 'training') },
    };
  if (trainTokens === undefined) return {};
  return { training: { unit: 'tokens', amount: wholeNumber(trainTokens, 'train-tokens', 0) } };
}

/** One-pass scores are of the KL; any other metric is measured. */
function scoresFrom({ metric, scores }: Pick<Arguments, 'metric' | 'scores'>): ScoreMethod {
  if (metric === 'kl') return scores;
  if (scores !== 'one-pass') return 'replace-one';
  throw new PuzzleError('bad-usage', 'One-pass scores are of the KL only.', {
    at: '--scores',
    value: scores,
    fix: 'Use --metric kl, or --scores replace-one.',
  });
}

const options = (yargs: Argv<GlobalOptions>) =>
  yargs
    .options(runOptions)
    .options(hardwareOption)
    .options(workloadOptions)
    .options(budgetOptions)
    .options(libraryOptions)
    .options(solverOptions)
    .options(searchOptions)
    .options({
      metric: {
        choices: damageMetrics,
        default: 'kl' as const,
        describe: "What a block's damage is measured by",
      },
      scores: {
        choices: scoreMethods,
        default: 'hybrid' as const,
        describe:
          'How blocks are scored: one backward pass for all, each replaced alone in the teacher, or the first and then the blocks that matter truly',
      },
      rounds: {
        type: 'number',
        default: 2,
        describe: 'Rounds of search in context: blocks scored in the student, the search solved again',
      },
      minutes: { type: 'number', describe: 'No further student is tried in context after this time' },
      context: {
        type: 'boolean',
        default: true,
        describe: 'Measure assembled students and learn how damages add up, beyond the sum of scores',
      },
      refit: {
        type: 'boolean',
        default: true,
        describe: 'Refit the student on its own activations; kept only where it measures better',
      },
      'train-minutes': {
        type: 'number',
        describe:
          'Gradient steps of the blocks that the search chose for this long, where they gain most a second',
      },
      'train-tokens': {
        type: 'number',
        describe: 'The same for so many tokens, summed over blocks',
      },
      seed: {
        type: 'number',
        default: 0,
        describe: 'Of one-pass scores and of the random architectures it is compared with',
      },
      compare: {
        type: 'boolean',
        default: true,
        describe: "Also evaluate the paper's initialisation, random, uniform and shallower students",
      },
      results: { type: 'string', default: 'results', describe: 'Folder that gets a folder per run' },
      out: { type: 'string', describe: "This run's folder, instead of a name of its own under --results" },
    })
    .example('$0 search --hw h100', 'the whole job on the bundled teacher')
    .example('$0 search --hw h100 --model model.gguf --text book.txt --params 75%', 'a model of yours');

export const searchCommand = defineCommand({
  command: 'search',
  describe: 'Find, prove and build the best student that fits: distil, score, cost, search, evaluate',
  options,
  run: (args, context) => {
    checkSource(args);
    return args.library === undefined ? searchModel(args, context) : searchLibrary(args, context);
  },
});

type Arguments = Awaited<ReturnType<typeof options>['argv']>;

/** A library or a model is searched; a flag of the other would be ignored in silence. */
function checkSource({ library, model, objective, maximise }: Arguments): void {
  const stray =
    library === undefined
      ? (objective !== undefined && '--objective') || (maximise !== undefined && '--maximise')
      : model !== undefined && '--model';
  if (stray === false) return;
  throw new PuzzleError(
    'bad-usage',
    library === undefined ? `${stray} is for --library.` : 'Both --library and --model.',
    {
      at: stray,
      fix: library === undefined ? 'Use --metric for a model.' : 'Name one of them.',
    },
  );
}

async function searchModel(args: Arguments, { print, report }: CommandContext): Promise<void> {
  const { openHardware, requireFeasible, runDocument, runName, searchRun, writeRunFolder } =
    await import('../../pipeline/index.ts');
  const given = budgetsFrom(args);
  const batches = batchesFrom(args.batch);
  const hardware = await openHardware(args.hw);
  const several = batches !== undefined && batches.length > 1;
  const request: SearchRequest = {
    workload: workloadFrom({ ...args, batch: batches?.[0] }, hardware.workload),
    ...(several && { batches }),
    ...(args.constraints !== undefined && {
      constraints: { written: await readConstraints(args.constraints), path: args.constraints },
    }),
    hardware,
    budgets: given.length > 0 ? given : [defaultBudget],
    metric: args.metric,
    scores: scoresFrom(args),
    ...(args.context &&
      args.metric === 'kl' && {
        context: {
          rounds: wholeNumber(args.rounds, 'rounds', 0, 100),
          ...(args.minutes !== undefined && {
            minutes: minutesFrom(args.minutes, 'minutes', 'trying students'),
          }),
        },
      }),
    ...trainingFrom(args),
    refit: args.refit && args.metric === 'kl',
    seed: args.seed,
    compare: args.compare,
    solve: solveOptionsOf(args),
  };
  const body = async (prepared: Prepared, store: Store): Promise<void> => {
    const { architecture } = prepared.teacher.checkpoint;
    const { solutions, minDifferent } = diversityOf(args, { groups: architecture.slots });
    const outcome = await searchRun(
      prepared,
      { ...request, ...(solutions > 1 && { others: { count: solutions - 1, minDifferent } }) },
      store,
      report,
    );
    const { space, texts, library, device } = prepared.options;
    const record = {
      command: ['puzzle', ...process.argv.slice(2)].join(' '),
      versions: { puzzle: version, node: process.versions.node },
      request: { ...request, hardware: args.hw, space, texts, library, device } as unknown as Json,
    };
    const folder = args.out ?? join(args.results, runName(outcome, record));
    await writeRunFolder(folder, outcome, record);
    if (args.saveProblem !== undefined)
      await writeFileAtomically(args.saveProblem, await readFile(join(folder, 'problem.json'), 'utf8'));
    const { renderOutcome } = await import('../render-outcome.ts');
    print({ ...runDocument(outcome), results: folder }, () => renderOutcome(outcome, folder));
  };
  await withPreparedRun(args, report, body, (outlined) => requireFeasible(outlined, request));
}
