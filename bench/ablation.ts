/**
 * What each step buys on SmolLM2-135M at 75 % of its parameters: each added to the steps before it, and scores and rankings
 * against one another. Finished jobs of the store are not repeated, so seconds are those of this run.
 *
 *     npx tsx bench/ablation.ts [store] [name ...]      variants by name; all if none is given
 */
import { mkdir } from 'node:fs/promises';
import { terminalProgress } from '../src/cli/terminal-progress.ts';
import { closedFormOptions, type Ranking } from '../src/library/index.ts';
import { openStore, searchRun, type ScoreMethod } from '../src/pipeline/index.ts';
import { studentStage } from '../src/pipeline/student-stage.ts';
import { writeFileAtomically } from '../src/util/atomic-file.ts';
import { machine } from './machine.ts';
import { klOf, markdownTable, openSmolLM2, prepareSmolLM2, requestFor, shown } from './smollm2-run.ts';

interface Variant {
  readonly name: string;
  readonly space: string;
  readonly ranking: Ranking;
  readonly calibrationTokens: number;
  /** Fewer than all: hybrid scores measure single blocks on a quarter of them. */
  readonly scoreTokens?: number;
  readonly scores: ScoreMethod;
  /** Rounds of search in context; 0 is the law alone; absent: the sum of scores decides. */
  readonly rounds?: number;
  /** Minutes of gradient BLD. */
  readonly training?: number;
  readonly refit?: boolean;
  /** Whether the same architecture is evaluated as the paper initialises it. */
  readonly paper?: boolean;
}

const coarse = {
  space: 'smollm2-135m',
  ranking: 'elimination',
  calibrationTokens: 65_536,
  scores: 'hybrid',
} as const;
const fine = { ...coarse, space: 'smollm2-135m-fine' } as const;

const variants: readonly Variant[] = [
  { ...coarse, name: 'contribution, 16 k tokens', ranking: 'contribution', calibrationTokens: 16_384 },
  { ...coarse, name: 'elimination, 16 k tokens', calibrationTokens: 16_384 },
  { ...coarse, name: 'coarse, one-pass', scores: 'one-pass' },
  {
    ...coarse,
    name: 'coarse, replace-one on a quarter of the text',
    scores: 'replace-one',
    scoreTokens: 1536,
  },
  { ...coarse, name: 'coarse, hybrid', paper: true },
  { ...coarse, name: 'coarse, hybrid, law, rounds', rounds: 2 },
  { ...coarse, name: 'coarse, hybrid, law, rounds, refit', rounds: 2, refit: true },
  { ...fine, name: 'fine, one-pass', scores: 'one-pass' },
  { ...fine, name: 'fine, hybrid', paper: true },
  { ...fine, name: 'fine, hybrid, law', rounds: 0 },
  { ...fine, name: 'fine, hybrid, law, rounds', rounds: 2, paper: true },
  { ...fine, name: 'fine, hybrid, law, rounds, refit', rounds: 2, refit: true },
  { ...fine, name: 'fine, hybrid, law, rounds, training', rounds: 2, training: 8 },
  { ...fine, name: 'fine, hybrid, law, rounds, training, refit', rounds: 2, training: 8, refit: true },
];

const [storePath = '.puzzle/store', ...names] = process.argv.slice(2);
const store = await openStore(storePath);
const teacher = await openSmolLM2();
const { report } = terminalProgress(process.stderr, { quiet: false });
const rows: string[][] = [];
const results: unknown[] = [];
try {
  for (const variant of variants) {
    const { name, space, ranking, scores, rounds, training, refit, paper } = variant;
    if (names.length > 0 && !names.includes(name)) continue;
    const started = performance.now();
    const library = { ...closedFormOptions, ranking };
    const prepared = await prepareSmolLM2(teacher, space, library, store, report, variant);
    const { context: _, ...request } = await requestFor(0.75);
    const outcome = await searchRun(
      prepared,
      {
        ...request,
        scores,
        ...(rounds !== undefined && { context: { rounds } }),
        ...(training !== undefined && { training: { unit: 'seconds', amount: 60 * training } }),
        refit: refit === true,
      },
      store,
      report,
    );
    const seconds = (performance.now() - started) / 1000;
    const { choice, evaluations } = outcome.students[0]!;
    const students = {
      ...prepared,
      library: outcome.library,
      texts: prepared.texts.evaluation,
      device: prepared.options.device,
    };
    const initial = { name: "paper's initialisation", choice, weights: 'paper' } as const;
    const asPaper = paper && (await studentStage(students, [initial], store, report))[0]!.evaluations;
    rows.push([
      name,
      shown(klOf(evaluations, 'compared')),
      shown(klOf(evaluations, 'further')),
      asPaper ? shown(klOf(asPaper, 'further')) : '-',
      outcome.scoring.sumOfScores.toFixed(3),
      `${outcome.scoring.measured} of ${outcome.scoring.blocks}`,
      seconds.toFixed(0),
    ]);
    const { scoring, refit: refitted, training: trained } = outcome;
    results.push({ name, scoring, training: trained, refit: refitted, evaluations, paper: asPaper, seconds });
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
