/**
 * The search engine's figures: our exact solver, HiGHS and GLPK in WebAssembly, native HiGHS and CBC on the same
 * instances in one run. `npx tsx bench/search.ts [budgets per case] [instances for the others]`
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
const closeLimitMs = 1000;
const otherLimitMs = 20_000;

type Size = keyof typeof libraries;

/** Budget draws of which all budgets bind: their prices are not 0. */
function bindingInstances(size: Size, budgets: number, timeNoise: number): Problem[] {
  const library = searchLibrary(size, { seed: 1, timeNoise });
  const instances: Problem[] = [];
  for (let seed = 1; instances.length < draws && seed < 50 * draws; seed++) {
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

interface Own {
  readonly median: number;
  readonly p95: number;
  readonly max: number;
  readonly open: number;
  readonly worstGap: number;
}

/** The least of several repeats each: others share the machine. */
function measureOwn(problems: readonly Problem[], gap = 0): Own {
  const times: number[] = [];
  let open = 0;
  let worstGap = 0;
  for (const problem of problems) {
    let least = Infinity;
    for (let repeat = 0; repeat < repeats; repeat++) {
      const start = performance.now();
      const solution = solveExact(problem, { timeLimitMs: closeLimitMs, gap });
      least = Math.min(least, performance.now() - start);
      if (repeat === 0) {
        if (solution.gap > gap) open++;
        worstGap = Math.max(worstGap, solution.gap);
      }
      if (least > 200) break;
    }
    times.push(least);
  }
  return {
    median: quantile(times, 0.5),
    p95: quantile(times, 0.95),
    max: quantile(times, 1),
    open,
    worstGap,
  };
}

async function measureOther(problems: readonly Problem[], solver: SolverName): Promise<number[]> {
  const times: number[] = [];
  for (const problem of problems) {
    const start = performance.now();
    await solve(problem, { solver, timeLimitMs: otherLimitMs });
    times.push(performance.now() - start);
  }
  return times;
}

/** Native HiGHS and CBC from Python, one process for all instances: their clocks start when the model is built. */
function measureNative(problems: readonly Problem[]): { highs: number[]; cbc: number[]; values: number[] } {
  const folder = mkdtempSync(join(tmpdir(), 'search-bench-'));
  try {
    const file = join(folder, 'instances.json');
    writeFileSync(file, JSON.stringify(problems));
    const output = execFileSync(
      'python3',
      ['bench/peers/search_peers.py', file, String(otherLimitMs / 1000)],
      {
        encoding: 'utf8',
      },
    );
    return JSON.parse(output.trim().split('\n').at(-1)!) as {
      highs: number[];
      cbc: number[];
      values: number[];
    };
  } finally {
    rmSync(folder, { recursive: true });
  }
}

const ms = (value: number): string => (value < 100 ? value.toFixed(1) : value.toFixed(0));
const rows: Record<string, unknown>[] = [];
const table: string[] = [
  '| library | budgets | own median ms | own p95 | own max | open after 1 s | worst gap |',
  '|---|---|---|---|---|---|---|',
];
const peers: string[] = [
  '| library | budgets | own ms | HiGHS wasm | GLPK wasm | HiGHS native | CBC native | HiGHS wasm / own | native HiGHS / own |',
  '|---|---|---|---|---|---|---|---|---|',
];

solveExact(withRandomBudgets(searchLibrary('80x16', { seed: 2 }), 2, 1)); // warm-up
for (const timeNoise of [0, 0.01]) {
  for (const size of ['80x16', '80x54'] as const) {
    for (const budgets of [1, 2, 3]) {
      const name = timeNoise === 0 ? size : `${size}, times measured per layer`;
      const problems = bindingInstances(size, budgets, timeNoise);
      const own = measureOwn(problems);
      rows.push({ library: name, budgets, draws: problems.length, ...own });
      table.push(
        `| ${name} | ${budgets} | ${ms(own.median)} | ${ms(own.p95)} | ${ms(own.max)} | ${own.open} of ${problems.length} | ${own.worstGap.toExponential(1)} |`,
      );
      console.log(table.at(-1));
      if (size !== '80x16' || timeNoise !== 0) continue;
      const few = problems.slice(0, instancesForOthers);
      const ownFew = measureOwn(few);
      const highs = await measureOther(few, 'highs');
      const glpk = await measureOther(few, 'glpk');
      const native = measureNative(few);
      few.forEach((problem, k) => {
        const { value } = solveExact(problem);
        if (Math.abs(value - native.values[k]!) > 1e-6 * value)
          throw new Error(`native HiGHS disagrees on ${k}`);
      });
      const median = {
        own: ownFew.median,
        highsWasm: quantile(highs, 0.5),
        glpkWasm: quantile(glpk, 0.5),
        highsNative: quantile(native.highs, 0.5),
        cbcNative: quantile(native.cbc, 0.5),
      };
      rows.push({ library: name, budgets, instances: few.length, medians: median });
      peers.push(
        `| ${name} | ${budgets} | ${ms(median.own)} | ${ms(median.highsWasm)} | ${ms(median.glpkWasm)} | ${ms(median.highsNative)} | ${ms(median.cbcNative)} | ${(median.highsWasm / median.own).toFixed(0)}x | ${(median.highsNative / median.own).toFixed(0)}x |`,
      );
      console.log(peers.at(-1));
    }
  }
}

const large = bindingInstances('126x200', 3, 0).slice(0, 20);
const largeOwn = measureOwn(large, 1e-4);
rows.push({ library: '126x200', budgets: 3, gap: 1e-4, draws: large.length, ...largeOwn });
table.push(
  `| 126x200, to a gap of 1e-4 | 3 | ${ms(largeOwn.median)} | ${ms(largeOwn.p95)} | ${ms(largeOwn.max)} | ${largeOwn.open} of ${large.length} | ${largeOwn.worstGap.toExponential(1)} |`,
);
console.log(table.at(-1));

const front: string[] = [];
for (const [r, axis] of ['memory', 'time'].entries()) {
  const library = searchLibrary('80x16', { seed: 1 });
  let least = Infinity;
  let points = 0;
  for (let repeat = 0; repeat < 3; repeat++) {
    const start = performance.now();
    const found = await solveFront(library, r);
    least = Math.min(least, performance.now() - start);
    points = found.points.length;
    if (found.epsilon > 0) throw new Error('the front was thinned out');
  }
  rows.push({ front: axis, library: '80x16', points, milliseconds: least });
  front.push(`Exact front of score and ${axis}, 80x16: ${points} points in ${ms(least)} ms.`);
  console.log(front.at(-1));
}

const where = machine();
const load = loadavg()[1]!;
writeFileSync('bench/results/search.json', `${JSON.stringify({ machine: where, load, rows }, null, 2)}\n`);
writeFileSync(
  'bench/results/search.md',
  [
    '# Search',
    '',
    `\`npx tsx bench/search.ts ${draws} ${instancesForOthers}\` on ${where.cpu}, ${where.cores} cores, Node ${where.node}, commit ${where.commit}, ${where.date}; load average during the run ${load.toFixed(1)}.`,
    `Own: least of ${repeats} repeats per budget draw; every budget of a draw binds. Libraries: see \`bench/search-library.ts\`.`,
    '',
    ...table,
    '',
    `Others, median of the first ${instancesForOthers} draws, one run each, limit ${otherLimitMs / 1000} s; same optimum checked against native HiGHS.`,
    '',
    ...peers,
    '',
    ...front,
    '',
  ].join('\n'),
);
