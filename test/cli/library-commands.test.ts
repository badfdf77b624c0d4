/** The commands over a block library, from the shell: their documents, files, exit codes and refusals. */
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test, vi } from 'vitest';
import { readBlockLibrary, resolveBudgets, underLimits, type Scenario } from '../../src/search/index.ts';
import { seededRandom } from '../../src/util/random.ts';
import { everyFit } from '../search/small-scenarios.ts';
import { runPuzzle } from './run-puzzle.ts';

// Fifteen processes in all: on a busy machine each takes its time to start.
vi.setConfig({ testTimeout: 300_000 });

let folder: string;
let library: string;
let scenario: Scenario;
const mebi = 2 ** 20;

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'puzzle-library-'));
  library = join(folder, 'block_library.json');
  const random = seededRandom(42);
  const variants = [
    ['attention = 8 kv heads (parent * 100%) && ffn = intermediate size 29e3 (parent * 100%)', 1437, 816, 0],
    [
      'attention = 8 kv heads (parent * 100%) && ffn = intermediate size 14e3 (parent * 50%)',
      1101,
      580,
      0.06,
    ],
    ['attention = no_op (parent * 0%) && ffn = intermediate size 29e3 (parent * 100%)', 672, 463, 0.2],
    ['attention = no_op (parent * 0%) && ffn = no_op (parent * 0%)', 0, 0, 4],
  ] as const;
  const layers = Array.from({ length: 5 }, (_, layer) => [
    `layer_${layer}`,
    Object.fromEntries(
      variants.map(([name, memory, runtime, damage]) => {
        const kl = damage * (0.5 + random.uniform());
        const stats = { memory_mib: memory, runtime_ms: runtime, num_params: memory * 6e5 };
        return [name, { stats, metrics: { kl_div: kl, lm_loss: 1.6 + kl / 10 } }];
      }),
    ),
  ]);
  const content: unknown = Object.fromEntries(layers);
  await writeFile(library, JSON.stringify(content));
  scenario = readBlockLibrary(content, library, { metric: 'kl_div', tokens: 256 * 1200 });
});

afterAll(() => rm(folder, { recursive: true, force: true }));

const best = (memoryMiB: number): number | undefined =>
  everyFit(
    underLimits(
      scenario,
      resolveBudgets(scenario, [{ measure: 'memory', limit: { kind: 'absolute', value: memoryMiB * mebi } }]),
    ),
  )[0]?.value;

test('search --library proves the optimum and says all of the contract; explain takes its output', async () => {
  const args = [
    '--library',
    library,
    '--memory',
    '5000MiB',
    '--latency',
    '51200ms',
    '--objective',
    'kl_div',
    '--json',
  ];
  const { code, stdout } = await runPuzzle(
    'search',
    ...args,
    '--batch',
    '256',
    '--input',
    '1200',
    '--throughput',
    '5%',
    '--solutions',
    '2',
    '--min-different',
    '2',
  );
  expect(code).toBe(0);
  const result = JSON.parse(stdout);
  expect(result).toMatchObject({ schema: 'puzzle/search-result@1', status: 'optimal' });
  expect(result.objective).toEqual({ metric: 'kl_div', value: best(5000), bound: best(5000), gap: 0 });
  const latencyMs: number = result.costs.latencyMs;
  expect(result.costs.memoryBytes).toBeLessThanOrEqual(5000 * mebi);
  expect(result.costs.throughputTokensPerSecond).toBeCloseTo((256 * 1200 * 1000) / latencyMs, 6);
  expect(result.teacher).toMatchObject({ memoryBytes: 5 * 1437 * mebi, latencyMs: 5 * 816 });
  expect(result.budgets.map(({ name }: { name: string }) => name)).toEqual([
    'memory',
    'latency',
    'throughput',
  ]);
  expect(result.budgets[0]).toMatchObject({
    limit: 5000 * mebi,
    used: result.costs.memoryBytes,
    binding: true,
  });
  expect(result.budgets[1]).toMatchObject({ limit: 51_200, binding: false });
  expect(result.layers).toHaveLength(5);
  expect(result.layers[0]).toMatchObject({
    index: 0,
    attention: expect.any(String),
    ffn: expect.any(String),
    score: expect.any(Number),
  });
  expect(result.solver).toMatchObject({
    name: expect.any(String),
    milliseconds: expect.any(Number),
    nodes: expect.any(Number),
  });
  expect(result.solutions).toHaveLength(2);
  const variants = result.solutions.map(({ layers }: { layers: { variant: string }[] }) =>
    layers.map(({ variant }) => variant),
  );
  expect(
    variants[0].filter((variant: string, layer: number) => variant !== variants[1][layer]).length,
  ).toBeGreaterThanOrEqual(2);

  const saved = join(folder, 'result.json');
  await writeFile(saved, stdout);
  const explained = await runPuzzle('explain', saved, '--json');
  expect(explained.code).toBe(0);
  const explanation = JSON.parse(explained.stdout);
  expect(explanation).toMatchObject({
    schema: 'puzzle/explanation@1',
    objective: result.objective,
    uncertainty: null,
  });
  expect(explanation.choices).toHaveLength(5);
  expect(explanation.budgets[0].exchange.gain).toBeGreaterThanOrEqual(0);
});

test('an infeasible budget exits with 3 and names the nearest feasible value of each', async () => {
  const constraints = join(folder, 'keep.yaml');
  await writeFile(constraints, '- { force: teacher, layers: [0..1] }\n- { count: attention, atLeast: 3 }\n');
  const { code, stdout } = await runPuzzle(
    'search',
    '--library',
    library,
    '--memory',
    '2000MiB',
    '--constraints',
    constraints,
    '--json',
  );
  expect(code).toBe(3);
  const { error } = JSON.parse(stdout);
  expect(error.code).toBe('infeasible');
  expect(error.details.budgets).toEqual([
    { name: 'memory', limit: 2000 * mebi, nearest: (2 * 1437 + 1101) * mebi },
  ]);
  expect(error.details.conflict.length).toBeGreaterThan(1);
});

test('whatif, front and compare work on the problem that a search saves', async () => {
  const problem = join(folder, 'problem.json');
  const searched = await runPuzzle(
    'search',
    '--library',
    library,
    '--memory',
    '70%',
    '--save-problem',
    problem,
    '--json',
  );
  expect(searched.code).toBe(0);

  const [whatif, cheapest, front, compare] = await Promise.all([
    runPuzzle('whatif', problem, '--vary', 'memory=40%..100%:4', '--json'),
    runPuzzle('whatif', problem, '--cheapest', 'memory', '--score', '0.4', '--json'),
    runPuzzle(
      'front',
      problem,
      '--x',
      'memory',
      '--y',
      'score',
      '--csv',
      join(folder, 'f.csv'),
      '--svg',
      join(folder, 'f.svg'),
      '--json',
    ),
    runPuzzle('compare', problem, '--json'),
  ]);
  const teacherMiB = 5 * 1437;
  const points: { objective: { value: number } }[] = JSON.parse(whatif.stdout).points;
  expect(points.map(({ objective }) => objective.value)).toEqual(
    [0.4, 0.6, 0.8, 1].map((share) => best(share * teacherMiB)),
  );

  const answer = JSON.parse(cheapest.stdout);
  expect(answer).toMatchObject({ schema: 'puzzle/cheapest@1', status: 'optimal', score: { limit: 0.4 } });
  expect(answer.score.value).toBeLessThanOrEqual(0.4);
  expect(best(answer.measure.value / mebi - 1)!).toBeGreaterThan(0.4);

  const { points: corners, exact } = JSON.parse(front.stdout) as {
    points: { x: number; y: number }[];
    exact: boolean;
  };
  expect(exact).toBe(true);
  for (const { x, y } of corners) expect(y).toBe(best(x / mebi));
  expect((await readFile(join(folder, 'f.csv'), 'utf8')).trim().split('\r\n')).toHaveLength(
    corners.length + 1,
  );
  expect((await readFile(join(folder, 'f.svg'), 'utf8')).match(/<circle/g)).toHaveLength(corners.length);

  const { searched: own, baselines } = JSON.parse(compare.stdout);
  expect(own.value).toBe(best(0.7 * teacherMiB));
  for (const { fits, value } of baselines) expect(fits ? value : Infinity).toBeGreaterThanOrEqual(own.value);
});

test('several batches, a library each: the best score is kept, then throughput, with the table of all', async () => {
  const content = JSON.parse(await readFile(library, 'utf8')) as Record<
    string,
    Record<string, { stats: { memory_mib: number; runtime_ms: number } }>
  >;
  const batches = [128, 256, 512];
  for (const batch of batches) {
    const scaled = structuredClone(content);
    for (const layer of Object.values(scaled)) {
      for (const { stats } of Object.values(layer)) {
        stats.memory_mib *= (1 + batch / 256) / 2;
        stats.runtime_ms *= batch === 512 ? 1.5 : 1;
      }
    }
    await writeFile(join(folder, `library-${batch}.json`), JSON.stringify(scaled));
  }
  const search = (...more: string[]) =>
    runPuzzle(
      'search',
      '--library',
      join(folder, 'library-{batch}.json'),
      '--batch',
      '128,512,256',
      '--input',
      '1200',
      ...more,
    );
  // What fits into little memory: the smallest batch leaves most of it to the weights.
  const tight = JSON.parse((await search('--memory', '4000MiB', '--json')).stdout);
  const rows: { batch: number; status: string; value: number; best: boolean }[] = tight.batches;
  expect(rows.map(({ batch }) => batch)).toEqual([128, 512, 256]);
  expect(rows.filter(({ best: isBest }) => isBest)).toEqual([rows[0]]);
  expect(tight.objective.value).toBe(rows[0]!.value);
  expect(tight.source).toMatchObject({ library: join(folder, 'library-128.json'), batch: 128 });
  for (const { value } of rows) expect(value).toBeGreaterThanOrEqual(rows[0]!.value);
  // Where everything fits the scores are equal, and tokens a second decide: 512 sequences in 1.5 times the time.
  const loose = JSON.parse((await search('--json')).stdout);
  expect(loose.batches.find(({ best: isBest }: { best: boolean }) => isBest).batch).toBe(512);
  const { stdout, code } = await search('--memory', '4000MiB');
  expect(code).toBe(0);
  expect(stdout).toMatch(/^batch .*kl_div .*throughput/m);
  expect(stdout).toMatch(/128 .*best/);

  const constraints = join(folder, 'constraints.yaml');
  await writeFile(constraints, '- { count: attention, atLeast: 5 }\n');
  const none = await search('--memory', '1MiB', '--constraints', constraints, '--json');
  expect(none.code).toBe(3);
  expect(JSON.parse(none.stdout).error.code).toBe('infeasible');
});

test('bad input exits with 2 and names the flag or the place', async () => {
  const broken = join(folder, 'broken.json');
  await writeFile(broken, '{"layer_0": {"a": {"stats": {"memory_mib": 1}, "metrics": {"kl_div": NaN}}}}');
  const cases: readonly (readonly [args: readonly string[], code: string, at: string])[] = [
    [['search', '--library', library, '--memory', '80s'], 'bad-unit', '--memory'],
    [['search', '--library', library, '--throughput', '5tok/s'], 'bad-usage', '--throughput'],
    [['search', '--library', library, '--objective', 'mmlu'], 'bad-usage', `${library}: metrics`],
    [['search', '--library', broken], 'file-invalid', `${broken}: layer_0: a: metrics: kl_div`],
    [['search', '--library', join(folder, 'nothing.json')], 'file-missing', join(folder, 'nothing.json')],
    [['whatif', '--library', library, '--vary', 'memory=1GiB..50%:3'], 'bad-unit', '--vary memory'],
    [['search', '--library', library, '--batch', '1..4'], 'bad-usage', '--batch'],
    [['search', '--batch', '4..1'], 'bad-usage', '--batch'],
    [['search', '--library', library, '--model', 'm.gguf'], 'bad-usage', '--model'],
    [['search', '--objective', 'kl_div'], 'bad-usage', '--objective'],
    [['search', '--library', library, '--min-different', '6'], 'bad-usage', '--min-different'],
  ];
  const outcomes = await Promise.all(cases.map(([args]) => runPuzzle(...args, '--json')));
  outcomes.forEach(({ code, stdout }, c) => {
    expect(code).toBe(2);
    expect(JSON.parse(stdout).error).toMatchObject({ code: cases[c]![1], at: cases[c]![2] });
  });
});
