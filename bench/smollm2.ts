/**
 * The whole job on SmolLM2-135M at four budgets: quality of the searched student and of its rivals, wall time, memory.
 *
 *     npx tsx bench/smollm2.ts [store]      about 40 minutes from cold on two cores; goes on where it was stopped
 */
import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { workload } from '../src/hardware/index.ts';
import { defaultLibraryOptions } from '../src/library/index.ts';
import { openHardware, openStore, openTeacher, prepare, searchRun } from '../src/pipeline/index.ts';
import type { Evaluation } from '../src/evaluate/index.ts';
import { terminalProgress } from '../src/cli/terminal-progress.ts';
import { writeFileAtomically } from '../src/util/atomic-file.ts';
import type { Interval } from '../src/util/interval.ts';
import { machine } from './machine.ts';

const shared = new URL('../../shared/', import.meta.url).pathname;
const data = (name: string): string => join(shared, 'data', name);
const budgets = [0.9, 0.8, 0.75, 0.6];

/** Of the PyTorch sketch of the issue: 16 k calibration tokens, closed forms only. */
const sketch: Readonly<Record<number, string>> = { 0.9: '.276', 0.8: '.674', 0.75: '.899', 0.6: '1.689' };

const store = await openStore(process.argv[2] ?? '.puzzle/store');
const teacher = await openTeacher(join(shared, 'models/SmolLM2-135M-Instruct.Q4_1.gguf'), { device: 'cpu' });
const { report } = terminalProgress(process.stderr, { quiet: false });
const started = performance.now();
const rows: string[][] = [];
const results: unknown[] = [];
try {
  const prepared = await prepare(teacher, {
    space: 'smollm2-135m',
    device: 'cpu',
    library: defaultLibraryOptions,
    texts: {
      text: data('textbooks-train.txt'),
      scoreText: data('textbooks-validation.txt'),
      evaluationTexts: [data('textbook-sociology-evaluation.txt'), data('wikitext-2-valid.txt')],
      window: 256,
      calibrationTokens: 65_536,
      validationTokens: 8192,
      scoreTokens: 1536,
      evaluationTokens: 1536,
    },
  });
  for (const factor of budgets) {
    const outcome = await searchRun(
      prepared,
      {
        workload: workload(),
        hardware: await openHardware('h100'),
        budgets: [{ measure: 'parameters', limit: { kind: 'relative', factor } }],
        metric: 'kl',
        seed: 0,
        compare: true,
        solve: {},
      },
      store,
      report,
    );
    const of = (name: string): readonly Evaluation[] | undefined =>
      outcome.students.find((student) => student.name === name)?.evaluations;
    const searched = of('searched')!;
    const random = outcome.students.filter(({ name }) => name.startsWith('random'));
    const kl = (evaluations: readonly Evaluation[] | undefined): string =>
      evaluations === undefined ? '-' : shown(over(evaluations, ({ kl }) => kl!));
    rows.push([
      `${100 * factor} %`,
      sketch[factor]!,
      kl(searched),
      perplexity(searched),
      `${(100 * over(searched, ({ top1Agreement }) => top1Agreement!).value).toFixed(1)} %`,
      kl(of("paper's initialisation")),
      (
        random.reduce((sum, { evaluations }) => sum + over(evaluations, ({ kl }) => kl!).value, 0) /
        random.length
      ).toFixed(2),
      kl(of('depth')),
      kl(of('uniform')),
      outcome.solution.value.toFixed(3),
    ]);
    results.push({ factor, sumOfScores: outcome.solution.value, students: outcome.students });
  }
  const minutes = (performance.now() - started) / 60_000;
  const peakBytes = process.resourceUsage().maxRSS * 1024;
  const head = [
    'parameters',
    'sketch KL',
    'searched KL',
    'perplexity',
    'top-1',
    "paper's init",
    'random (mean of 5)',
    'depth',
    'uniform',
    'sum of scores',
  ];
  const table = [head, head.map(() => '---'), ...rows].map((cells) => `| ${cells.join(' | ')} |`).join('\n');
  const about = machine();
  const note = `This run took ${minutes.toFixed(1)} minutes (finished jobs of the store are not repeated) and ${(peakBytes / 2 ** 30).toFixed(2)} GiB at its peak.`;
  await mkdir('bench/results', { recursive: true });
  await writeFileAtomically(
    'bench/results/smollm2.md',
    `# SmolLM2-135M, the whole job\n\n${table}\n\n6 windows of 256 tokens from the start of each of the two evaluation texts; 95 % intervals. ${note}\n\n${JSON.stringify(about)}\n`,
  );
  await writeFileAtomically(
    'bench/results/smollm2.json',
    `${JSON.stringify({ machine: about, minutes, peakBytes, results }, null, 1)}\n`,
  );
} finally {
  await teacher.close();
}

/** Mean over the texts; their errors are independent. */
function over(evaluations: readonly Evaluation[], part: (evaluation: Evaluation) => Interval): Interval {
  const intervals = evaluations.map(part);
  const value = intervals.reduce((sum, own) => sum + own.value, 0) / intervals.length;
  const half =
    Math.sqrt(intervals.reduce((sum, own) => sum + (own.high - own.value) ** 2, 0)) / intervals.length;
  return { value, low: value - half, high: value + half };
}

function perplexity(evaluations: readonly Evaluation[]): string {
  const logs = evaluations.map((evaluation) => Math.log(evaluation.perplexity.value));
  return Math.exp(logs.reduce((sum, log) => sum + log, 0) / logs.length).toFixed(1);
}

function shown({ value, low, high }: Interval): string {
  return `${value.toFixed(3)} (${low.toFixed(3)} to ${high.toFixed(3)})`;
}
