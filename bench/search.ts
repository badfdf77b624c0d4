/**
 * The search engine's figures: our exact solver, HiGHS and GLPK in WebAssembly, native HiGHS and CBC on the same
 * instances in one run. `npx tsx bench/search.ts [budgets per case] [instances for the others]`
 *
 * Times are CPU time of the process: on a machine that others use it is what a quiet one would take.
 */
import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { loadavg, tmpdir } from 'node:os';
import { join } from 'node:path';
import { solve, solveExact, solveFront, type Problem, type SolverName } from '../src/search/index.ts';
import { machine } from './machine.ts';
import { searchLibrary, withRandomBudgets, type libraries } from './search-library.ts';

const draws = Number(process.argv[2] ?? 100);
const instancesForOthers = Number(process.argv[3] ?? 5);
const repeats = 5;
/** Beyond this one run has to do. */
const onceMs = 300;
const closeLimitMs = 1000;
const otherLimitMs = 30_000;

type Size = keyof typeof libraries;

/** Milliseconds of CPU time that this process, with all its threads, has taken. */
const cpuMs = (): number => {
  const { user, system } = process.cpuUsage();
  return (user + system) / 1e3;
};

/** Budget draws of which all budgets bind: their prices are not 0. */
function bindingInstances(size: Size, budgets: number, timeNoise: number, count: number): Problem[] {
  const library = searchLibrary(size, { seed: 1, timeNoise });
  const instances: Problem[] = [];
  for (let seed = 1; instances.length < count && seed < 50 * count; seed++) {
    const problem = withRandomBudgets(library, budgets, seed);
    const { multipliers } = solveExact(problem, { gap: 1e-2, timeLimitMs: closeLimitMs });
    if (multipliers!.slice(0, budgets).every((multiplier) => multiplier !== 0)) instances.push(problem);
  }
  return instances;
}

const quantile = (values: readonly number[], share: number): number => {
  const sorted = values.toSorted((a, b) => a - b);
  return sorted[Math.min(sorted.length - 1, Math.floor(share * sorted.length))]!;
};

/** The least of several repeats: caches and compilation are warm, as they are when a user explores. */
function ownMs(problem: Problem, gap = 0): number {
  let least = Infinity;
  for (let repeat = 0; repeat < repeats && (repeat === 0 || least < onceMs); repeat++) {
    const start = cpuMs();
    solveExact(problem, { gap });
    least = Math.min(least, cpuMs() - start);
  }
  return least;
}

interface Own {
  readonly median: number;
  readonly p95: number;
  readonly max: number;
  /** Draws that took longer than a second. */
  readonly slow: number;
}

function measureOwn(problems: readonly Problem[], gap = 0): Own {
  const times = problems.map((problem) => ownMs(problem, gap));
  return {
    median: quantile(times, 0.5),
    p95: quantile(times, 0.95),
    max: quantile(times, 1),
    slow: times.filter((time) => time > closeLimitMs).length,
  };
}

interface Timed {
  readonly ms: number;
  /** NaN when the time limit struck before an answer. */
  readonly value: number;
  readonly proven: boolean;
}

async function measureOther(problems: readonly Problem[], solver: SolverName): Promise<Timed[]> {
  const timed: Timed[] = [];
  for (const problem of problems) {
    const start = cpuMs();
    const { status, value } = await solve(problem, { solver, timeLimitMs: otherLimitMs });
    timed.push({ ms: cpuMs() - start, value, proven: status === 'optimal' });
  }
  return timed;
}

interface Native {
  readonly highs: readonly number[];
  readonly cbc: readonly number[];
  readonly values: readonly number[];
}

/** Native HiGHS and CBC from Python, one process for all instances: their clocks start when the model is built. */
function measureNative(problems: readonly Problem[]): Native {
  const folder = mkdtempSync(join(tmpdir(), 'search-bench-'));
  try {
    const file = join(folder, 'instances.json');
    writeFileSync(file, JSON.stringify(problems));
    const output = execFileSync(
      'python3',
      ['bench/peers/search_peers.py', file, String(otherLimitMs / 1000)],
      { encoding: 'utf8' },
    );
    return JSON.parse(output.trim().split('\n').at(-1)!) as Native;
  } finally {
    rmSync(folder, { recursive: true });
  }
}

async function compare(problems: readonly Problem[]): Promise<Record<string, number>> {
  const own = problems.map((problem) => ownMs(problem));
  const highs = await measureOther(problems, 'highs');
  const glpk = await measureOther(problems, 'glpk');
  const native = measureNative(problems);
  for (const [k, problem] of problems.entries()) {
    const { value } = solveExact(problem);
    for (const other of [highs[k]!, glpk[k]!])
      if (other.proven && Math.abs(value - other.value) > 1e-6 * value)
        throw new Error(`solvers disagree on ${k}`);
    if (native.values[k]! < value * (1 - 1e-6)) throw new Error(`native HiGHS finds better on ${k}`);
  }
  return {
    own: quantile(own, 0.5),
    highsWasm: quantile(
      highs.map(({ ms: time }) => time),
      0.5,
    ),
    glpkWasm: quantile(
      glpk.map(({ ms: time }) => time),
      0.5,
    ),
    highsNative: quantile(native.highs, 0.5),
    cbcNative: quantile(native.cbc, 0.5),
    leastTimesFasterThanHighsWasm: Math.min(...highs.map(({ ms: time }, k) => time / own[k]!)),
    highsWasmUnproven: highs.filter(({ proven }) => !proven).length,
    glpkWasmUnproven: glpk.filter(({ proven }) => !proven).length,
  };
}

const ms = (value: number): string => (value < 100 ? value.toFixed(1) : value.toFixed(0));
const loads = [loadavg()[0]!];
const rows: Record<string, unknown>[] = [];
const table: string[] = [
  '| library | budgets | draws | median ms | p95 | worst | longer than 1 s |',
  '|---|---|---|---|---|---|---|',
];
const peers: string[] = [
  '| library | budgets | own ms | HiGHS wasm | GLPK wasm | HiGHS native | CBC native | HiGHS wasm / own | GLPK wasm / own | HiGHS native / own | least HiGHS wasm / own |',
  '|---|---|---|---|---|---|---|---|---|---|---|',
];
const front: string[] = [];

function report(lines: string[], line: string): void {
  lines.push(line);
  loads.push(loadavg()[0]!);
  console.log(line);
  save();
}

function save(): void {
  const where = machine();
  const load = { least: Math.min(...loads), most: Math.max(...loads) };
  writeFileSync('bench/results/search.json', `${JSON.stringify({ machine: where, load, rows }, null, 2)}\n`);
  writeFileSync(
    'bench/results/search.md',
    [
      '# Search',
      '',
      `\`npx tsx bench/search.ts ${draws} ${instancesForOthers}\` on ${where.cpu}, ${where.cores} cores, Node ${where.node}, commit ${where.commit}, ${where.date}; load average during the run ${load.least.toFixed(1)} to ${load.most.toFixed(1)}.`,
      `Milliseconds of CPU time from problem to rechecked, proven optimum (gap 0), the least of ${repeats} repeats per draw. Every budget of a draw binds. Libraries: see \`bench/search-library.ts\`.`,
      '',
      ...table,
      '',
      `Others, median of the first ${instancesForOthers} draws, one run each, CPU time, limit ${otherLimitMs / 1000} s (>: a time limit struck in some); values checked against each other.`,
      '',
      ...peers,
      '',
      ...front,
      '',
    ].join('\n'),
  );
}

async function measureFronts(): Promise<void> {
  const library = searchLibrary('80x16', { seed: 1 });
  const { resources } = withRandomBudgets(library, 2, 1);
  const [, time] = resources;
  const timed = { ...library, resources: library.resources.with(1, time!) };
  const fronts: readonly (readonly [string, Problem, number, number])[] = [
    ['score and memory', library, 0, 3],
    ['score and time', library, 1, 3],
    ['score and memory under a time budget', timed, 0, 1],
  ];
  for (const [name, problem, resource, runs] of fronts) {
    let least = Infinity;
    let points = 0;
    for (let run = 0; run < runs; run++) {
      const start = cpuMs();
      const found = await solveFront(problem, resource);
      least = Math.min(least, cpuMs() - start);
      points = found.points.length;
      if (found.epsilon > 0 || !found.complete) throw new Error('the front is not complete');
    }
    rows.push({ front: name, library: '80x16', points, milliseconds: least });
    report(front, `Exact front of ${name}, 80x16: ${points} points in ${ms(least)} ms.`);
  }
}

solveExact(withRandomBudgets(searchLibrary('80x16', { seed: 2 }), 2, 1)); // warm-up
for (const timeNoise of [0, 0.01]) {
  for (const size of ['80x16', '80x54'] as const) {
    for (const budgets of [1, 2, 3]) {
      const name = timeNoise === 0 ? size : `${size}, times measured per layer`;
      const problems = bindingInstances(size, budgets, timeNoise, draws);
      const own = measureOwn(problems);
      rows.push({ library: name, budgets, draws: problems.length, ...own });
      report(
        table,
        `| ${name} | ${budgets} | ${problems.length} | ${ms(own.median)} | ${ms(own.p95)} | ${ms(own.max)} | ${own.slow} |`,
      );
    }
  }
}
const large = bindingInstances('126x200', 3, 0, Math.min(draws, 20));
const largeOwn = measureOwn(large, 1e-4);
rows.push({ library: '126x200', budgets: 3, gap: 1e-4, draws: large.length, ...largeOwn });
report(
  table,
  `| 126x200, to a gap of 1e-4 | 3 | ${large.length} | ${ms(largeOwn.median)} | ${ms(largeOwn.p95)} | ${ms(largeOwn.max)} | ${largeOwn.slow} |`,
);
await measureFronts();
for (const size of ['80x16', '80x54'] as const) {
  for (const budgets of instancesForOthers > 0 ? [1, 2, 3] : []) {
    const problems = bindingInstances(size, budgets, 0, instancesForOthers);
    const median = await compare(problems);
    rows.push({ library: size, budgets, instances: problems.length, ...median });
    const struck = (count: number): string => (count > 0 ? '> ' : '');
    const times = (other: number): string => `${(other / median.own!).toFixed(0)}x`;
    report(
      peers,
      `| ${size} | ${budgets} | ${ms(median.own!)} | ${struck(median.highsWasmUnproven!)}${ms(median.highsWasm!)} | ${struck(median.glpkWasmUnproven!)}${ms(median.glpkWasm!)} | ${ms(median.highsNative!)} | ${ms(median.cbcNative!)} | ${times(median.highsWasm!)} | ${times(median.glpkWasm!)} | ${times(median.highsNative!)} | ${median.leastTimesFasterThanHighsWasm!.toFixed(0)}x |`,
    );
  }
}
