/**
 * The whole job on SmolLM2-135M at four budgets: quality of the searched student and of its rivals, wall time, memory.
 *
 *     npx tsx bench/smollm2.ts [store] [space] [percent ...]      goes on where it was stopped
 */
import { mkdir } from 'node:fs/promises';
import { terminalProgress } from '../src/cli/terminal-progress.ts';
import type { Evaluation } from '../src/evaluate/index.ts';
import { closedFormOptions } from '../src/library/index.ts';
import { openStore, searchRun } from '../src/pipeline/index.ts';
import { writeFileAtomically } from '../src/util/atomic-file.ts';
import { machine } from './machine.ts';
import {
  klOf,
  markdownTable,
  openSmolLM2,
  prepareSmolLM2,
  requestFor,
  shown,
  sketches,
} from './smollm2-run.ts';

/** The budget at which simpler methods are evaluated too. */
const comparedFactor = 0.75;

const [storePath = '.puzzle/store', space = 'smollm2-135m-fine', ...percents] = process.argv.slice(2);
/** The first runs from cold; the others find the library and the one-pass scores in the store. */
const factors =
  percents.length === 0 ? [0.75, 0.6, 0.9, 0.8] : percents.map((percent) => Number(percent) / 100);
const store = await openStore(storePath);
const teacher = await openSmolLM2();
const progress = terminalProgress(process.stderr, { quiet: false });
const started = performance.now();
const seconds: Record<string, number> = {};
const timed: typeof progress.report = (event) => {
  if (event.kind === 'stage-started') stageStart.set(event.stage, performance.now());
  if (event.kind === 'stage-finished') {
    const took = (performance.now() - (stageStart.get(event.stage) ?? started)) / 1000;
    seconds[event.stage] = (seconds[event.stage] ?? 0) + took;
  }
  progress.report(event);
};
const stageStart = new Map<string, number>();
const rows: string[][] = [];
const results: unknown[] = [];
try {
  const prepared = await prepareSmolLM2(teacher, space, closedFormOptions, store, timed);
  const alternatives = prepared.alternatives.reduce((sum, group) => sum + group.length - 1, 0);
  for (const factor of factors) {
    const before = performance.now();
    const outcome = await searchRun(
      prepared,
      { ...(await requestFor(factor)), compare: factor === comparedFactor },
      store,
      timed,
    );
    const of = (name: string): readonly Evaluation[] | undefined =>
      outcome.students.find((student) => student.name === name)?.evaluations;
    const searched = of('searched')!;
    const random = outcome.students.filter(({ name }) => name.startsWith('random'));
    const compared = (evaluations: readonly Evaluation[] | undefined): string =>
      evaluations === undefined ? '-' : shown(klOf(evaluations, 'compared'));
    rows.push([
      `${100 * factor} %`,
      ...sketches[factor]!,
      compared(searched),
      shown(klOf(searched, 'further')),
      compared(of('without refit')),
      perplexity(searched.slice(0, 2)),
      compared(of("paper's initialisation")),
      random.length === 0
        ? '-'
        : (
            random.reduce((sum, { evaluations }) => sum + klOf(evaluations, 'compared').value, 0) /
            random.length
          ).toFixed(2),
      compared(of('depth')),
      outcome.scoring.sumOfScores.toFixed(3),
      outcome.scoring.withCrossTerms?.toFixed(3) ?? '-',
      `${((performance.now() - before) / 60_000).toFixed(1)} min`,
    ]);
    results.push({
      factor,
      scoring: outcome.scoring,
      path: outcome.path.map(({ choice: _, ...step }) => step),
      refit: outcome.refit,
      layers: outcome.solution.choice.map(
        (position, slot) => outcome.scenario.problem.groups[slot]!.alternatives[position]!.name,
      ),
      students: outcome.students.map(({ name, choice, evaluations }) => ({ name, choice, evaluations })),
    });
    await write(alternatives);
  }
} finally {
  await teacher.close();
}

async function write(alternatives: number): Promise<void> {
  const minutes = (performance.now() - started) / 60_000;
  const peakBytes = process.resourceUsage().maxRSS * 1024;
  const head = [
    'parameters',
    'sketch, coarse',
    'sketch, fine',
    'searched KL, 12 windows',
    '60 further windows',
    'without refit',
    'perplexity',
    "paper's init",
    'random (mean of 5)',
    'depth',
    'sum of scores',
    'with cross terms',
    'time',
  ];
  const order = [0.9, 0.8, 0.75, 0.6].map((factor) => `${100 * factor} %`);
  const sorted = order.flatMap((budget) => rows.filter(([first]) => first === budget));
  const about = machine();
  const stages = Object.entries(seconds).map(([stage, taken]) => `${stage} ${taken.toFixed(0)} s`);
  const note = `Space ${space}, ${alternatives} alternatives. The budgets ran in the order 75, 60, 90, 80 %, the first from cold; ${minutes.toFixed(1)} minutes in all (finished jobs of the store are not repeated), of which ${stages.join(', ')}; ${(peakBytes / 2 ** 30).toFixed(2)} GiB at the peak.`;
  await mkdir('bench/results', { recursive: true });
  await writeFileAtomically(
    'bench/results/smollm2.md',
    `# SmolLM2-135M, the whole job\n\n${markdownTable(head, sorted)}\n\nWindows of 256 tokens, half from each of the two evaluation texts; 95 % intervals. ${note}\n\n${JSON.stringify(about)}\n`,
  );
  await writeFileAtomically(
    'bench/results/smollm2.json',
    `${JSON.stringify({ machine: about, space, minutes, seconds, peakBytes, results }, null, 1)}\n`,
  );
}

/** Geometric mean over texts. */
function perplexity(evaluations: readonly Evaluation[]): string {
  const logs = evaluations.map((evaluation) => Math.log(evaluation.perplexity.value));
  return Math.exp(logs.reduce((sum, log) => sum + log, 0) / logs.length).toFixed(1);
}
