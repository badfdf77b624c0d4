/**
 * What each step buys on SmolLM2-135M at 75 % of its parameters: each added to the steps before it, and scores and rankings
 * against one another. Finished jobs of the store are not repeated, so seconds are those of this run.
 *
 *     npx tsx bench/ablation.ts [store] [name ...]      variants by name; all if none is given
 */
import { mkdir } from 'node:fs/promises';
import { terminalProgress } from '../src/cli/terminal-progress.ts';
import { closedFormOptions, defaultLibraryOptions, type LibraryOptions } from '../src/library/index.ts';
import { openStore, searchRun, type ScoreMethod } from '../src/pipeline/index.ts';
import { writeFileAtomically } from '../src/util/atomic-file.ts';
import { machine } from './machine.ts';
import { klOf, markdownTable, openSmolLM2, prepareSmolLM2, requestFor, shown } from './smollm2-run.ts';

interface Variant {
  readonly name: string;
  readonly space: string;
  readonly library: LibraryOptions;
  readonly calibrationTokens: number;
  readonly scores: ScoreMethod;
  /** Rounds of search in context; 0 is the law alone. */
  readonly rounds?: number;
  /** Gradient steps after the refit; no refit if absent. */
  readonly refit?: number;
}

const coarse = { space: 'smollm2-135m', calibrationTokens: 65_536, scores: 'hybrid' } as const;
const fine = { ...coarse, space: 'smollm2-135m-fine' } as const;

const variants: readonly Variant[] = [
  {
    ...coarse,
    name: 'contribution, 16 k tokens',
    library: { ...closedFormOptions, ranking: 'contribution' },
    calibrationTokens: 16_384,
  },
  { ...coarse, name: 'elimination, 16 k tokens', library: closedFormOptions, calibrationTokens: 16_384 },
  { ...coarse, name: 'elimination, 65 k tokens', library: closedFormOptions },
  { ...coarse, name: 'coarse, one-pass', library: closedFormOptions, scores: 'one-pass' },
  { ...coarse, name: 'coarse, replace-one', library: closedFormOptions, scores: 'replace-one' },
  { ...coarse, name: 'coarse, gradient BLD', library: defaultLibraryOptions },
  { ...fine, name: 'fine, one-pass', library: closedFormOptions, scores: 'one-pass' },
  { ...fine, name: 'fine, hybrid', library: closedFormOptions },
  { ...fine, name: 'fine, law', library: closedFormOptions, rounds: 0 },
  { ...fine, name: 'fine, law, rounds', library: closedFormOptions, rounds: 2 },
  { ...fine, name: 'fine, law, rounds, refit', library: closedFormOptions, rounds: 2, refit: 0 },
  {
    ...fine,
    name: 'fine, law, rounds, refit, 32 gradient steps',
    library: closedFormOptions,
    rounds: 2,
    refit: 32,
  },
  { ...coarse, name: 'coarse, law, rounds, refit', library: closedFormOptions, rounds: 2, refit: 0 },
];

const [storePath = '.puzzle/store', ...names] = process.argv.slice(2);
const store = await openStore(storePath);
const teacher = await openSmolLM2();
const { report } = terminalProgress(process.stderr, { quiet: false });
const rows: string[][] = [];
const results: unknown[] = [];
try {
  for (const { name, space, library, calibrationTokens, scores, rounds, refit } of variants) {
    if (names.length > 0 && !names.includes(name)) continue;
    const started = performance.now();
    const prepared = await prepareSmolLM2(teacher, space, library, store, report, calibrationTokens);
    const { context: _, refit: __, ...request } = await requestFor(0.75);
    const outcome = await searchRun(
      prepared,
      {
        ...request,
        scores,
        compare: true,
        ...(rounds !== undefined && { context: { rounds } }),
        ...(refit !== undefined && { refit: { trainSteps: refit } }),
      },
      store,
      report,
    );
    const seconds = (performance.now() - started) / 1000;
    const { evaluations } = outcome.students[0]!;
    const paper = outcome.students.find(({ weights }) => weights === 'paper')!.evaluations;
    rows.push([
      name,
      shown(klOf(evaluations, 'compared')),
      shown(klOf(evaluations, 'further')),
      shown(klOf(paper, 'further')),
      outcome.scoring.sumOfScores.toFixed(3),
      `${outcome.scoring.measured} of ${outcome.scoring.blocks}`,
      seconds.toFixed(0),
    ]);
    results.push({ name, scoring: outcome.scoring, evaluations, paper, seconds });
    await write();
  }
} finally {
  await teacher.close();
}

async function write(): Promise<void> {
  const about = machine();
  const head = [
    'steps',
    'KL, 12 windows',
    'KL, 60 further windows',
    "paper's initialisation of the same",
    'sum of scores',
    'blocks measured',
    'seconds of this run',
  ];
  await mkdir('bench/results', { recursive: true });
  await writeFileAtomically(
    'bench/results/ablation.md',
    `# What each step buys: SmolLM2-135M at 75 % of its parameters\n\n${markdownTable(head, rows)}\n\n95 % intervals.\n\n${JSON.stringify(about)}\n`,
  );
  await writeFileAtomically(
    'bench/results/ablation.json',
    `${JSON.stringify({ machine: about, results }, null, 1)}\n`,
  );
}
