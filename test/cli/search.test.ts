/** The main job from the shell, on the bundled teacher: its document, its folder, a kill in the middle, refusals. */
import { spawn } from 'node:child_process';
import { mkdtemp, readFile, readdir, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as wait } from 'node:timers/promises';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { puzzleCommand, runPuzzle } from './run-puzzle.ts';

let folder: string;
let flags: string[];

/** Small enough for seconds, real all the same: every stage runs on the real teacher. */
const space = 'attention: [teacher, no-op]\nffn: [teacher, { swiglu: 128 }, linear, no-op]\n';
const sizes = [
  '--tokens',
  '8192',
  '--validation-tokens',
  '1024',
  '--score-tokens',
  '1024',
  '--eval-tokens',
  '1024',
];

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'puzzle-search-'));
  await writeFile(join(folder, 'space.yaml'), space);
  flags = [
    '--hw',
    'cpu',
    '--space',
    join(folder, 'space.yaml'),
    ...sizes,
    '--distil-steps',
    '4',
    '--params',
    '75%',
  ];
});
afterAll(() => rm(folder, { recursive: true, force: true }));

const search = (store: string, ...more: readonly string[]) =>
  runPuzzle(
    'search',
    ...flags,
    '--store',
    join(folder, store),
    '--results',
    join(folder, 'results'),
    '--json',
    ...more,
  );

/** Finished jobs only: a kill may leave a temporary folder with a job in flight. */
const jobsOf = async (store: string): Promise<string[]> =>
  (await readdir(join(folder, store), { recursive: true }))
    .filter((path) => path.endsWith('job.json') && !path.includes('.tmp'))
    .sort();

test('search leaves a measured student in its folder, and the same again without work', async () => {
  const { code, stdout, stderr } = await search('store');
  expect(stderr).not.toContain('bug');
  expect(code).toBe(0);
  const document = JSON.parse(stdout);
  expect(document).toMatchObject({ schema: 'puzzle/search-result@1', scoring: { method: 'hybrid' } });
  expect(document.path[0]).toMatchObject({ name: 'sum of scores', accepted: true });
  // The optimum of the sum, unless another student measured better: then its true gap.
  const isOther = document.path.some(
    ({ name, accepted }: { name: string; accepted: boolean }) => accepted && /^(diverse|round)/.test(name),
  );
  expect(document.status).toBe(isOther ? 'feasible' : 'optimal');
  expect(document.objective.gap > 0).toBe(isOther);
  expect(document.refit.after.value).toBeLessThan(document.refit.before.value);
  expect([0.25, 0.5, 0.75, 1]).toContain(document.refit.share);
  expect(document.layers).toHaveLength(8);
  const parameters = document.budgets[0];
  expect(parameters.used).toBeLessThanOrEqual(parameters.limit);
  expect(document.costs.parameters).toBe(parameters.used);
  const [searched] = document.students;
  const paper = document.students.find(({ name }: { name: string }) => name === "paper's initialisation");
  expect(searched.evaluations[0].kl.value).toBeLessThan(paper.evaluations[0].kl.value);
  const files = await readdir(document.results);
  expect(files).toEqual(
    expect.arrayContaining([
      'architecture.json',
      'architecture.svg',
      'problem.json',
      'report.md',
      'run.json',
      'student',
    ]),
  );
  const text = await readFile(join(document.results, 'report.md'), 'utf8');
  expect(text).toContain('## The way to this student');
  expect(text).toContain('with cross terms');

  const before = await jobsOf('store');
  const again = await search('store');
  expect(JSON.parse(again.stdout).layers).toEqual(document.layers);
  expect(JSON.parse(again.stdout).students).toEqual(document.students);
  expect(again.stderr).not.toContain('distil:');
  expect(await jobsOf('store')).toEqual(before);

  // Killed in the middle and started again: the same end, and no finished job done twice.
  const killed = join(folder, 'killed');
  const [program, ...args] = puzzleCommand(
    'search',
    ...flags,
    '--store',
    killed,
    '--results',
    join(folder, 'r2'),
    '--json',
  );
  const child = spawn(program!, args, { stdio: 'ignore' });
  const exited = new Promise((resolve) => child.once('exit', resolve));
  while ((await jobsOf('killed').catch(() => [])).length < 12) await wait(50);
  child.kill('SIGKILL');
  await exited;
  const kept = await jobsOf('killed');
  const times = await Promise.all(kept.map(async (job) => (await stat(join(killed, job))).mtimeMs));
  const resumed = await search('killed');
  expect(JSON.parse(resumed.stdout).layers).toEqual(document.layers);
  expect(kept.length).toBeLessThan(before.length);
  expect(await jobsOf('killed')).toEqual(before);
  expect(await Promise.all(kept.map(async (job) => (await stat(join(killed, job))).mtimeMs))).toEqual(times);

  // Jobs of every stage gone, as a kill inside it leaves them: they alone are made again, and the end is the same.
  for (const stage of ['sensitivity', 'projection', 'score', 'student-damage', 'refit', 'student']) {
    const jobs = (await readdir(join(killed, stage))).sort();
    expect(jobs.length).toBeGreaterThan(0);
    await rm(join(killed, stage, jobs[Math.floor(jobs.length / 2)]!), { recursive: true });
  }
  const mended = JSON.parse((await search('killed')).stdout);
  expect(mended.layers).toEqual(document.layers);
  expect(mended.students).toEqual(document.students);
  expect(mended.path).toEqual(document.path);
  expect((await jobsOf('killed')).filter((job) => !job.startsWith('sensitivity'))).toEqual(
    before.filter((job) => !job.startsWith('sensitivity')),
  );

  // Gradient steps where they pay: within their budget, never worse, and not done twice.
  const steps = ['--train-tokens', '120000'];
  const trained = JSON.parse((await search('store', ...steps)).stdout);
  expect(trained.layers).toEqual(document.layers);
  const { training } = trained;
  expect(training.budget).toEqual({ unit: 'tokens', amount: 120_000 });
  expect(training.spent).toBeGreaterThan(0);
  expect(training.spent).toBeLessThanOrEqual(120_000);
  expect(training.before).toEqual(document.refit.before);
  expect(training.gained).toBeLessThanOrEqual(training.blocks);
  expect(trained.refit.before).toEqual(training.accepted ? training.after : training.before);
  if (training.accepted) expect(training.after.value).toBeLessThan(training.before.value);
  const jobs = await jobsOf('store');
  expect(jobs.some((job) => job.startsWith('training'))).toBe(true);
  expect(JSON.parse((await search('store', ...steps)).stdout).training).toEqual(training);
  expect(await jobsOf('store')).toEqual(jobs);
  expect(await readFile(join(trained.results, 'report.md'), 'utf8')).toContain('blocks gained');

  const additive = JSON.parse((await search('store', '--no-context', '--no-refit')).stdout);
  expect(additive).toMatchObject({ status: 'optimal', path: [] });
  expect(await readFile(join(additive.results, 'report.md'), 'utf8')).toContain('Proven optimal');
}, 300_000);

test('what cannot be done is refused before anything is computed, with code, place and remedy', async () => {
  const refusals: readonly (readonly [args: readonly string[], exit: number, code: string])[] = [
    [['search', ...flags, '--params', '1%'], 3, 'infeasible'],
    [['search', ...flags, '--memory', '1KiB'], 3, 'infeasible'],
    [['search', ...flags, '--params', '80GiB'], 2, 'bad-unit'],
    [['search', '--model', join(folder, 'nothing.gguf')], 2, 'file-missing'],
    [['search', '--space', join(folder, 'nothing.yaml')], 2, 'file-missing'],
    [['search', '--text', join(folder, 'nothing.txt')], 2, 'file-missing'],
    [['search', '--hw', 'abacus'], 2, 'file-missing'],
    [['search', '--window', '100000'], 2, 'bad-usage'],
    [['search', '--no-such-flag'], 2, 'bad-usage'],
    [['search', '--train-minutes', '-1'], 2, 'bad-usage'],
    [['search', '--train-minutes', '1', '--train-tokens', '1'], 2, 'bad-usage'],
    // The teacher's own text is sampled only once nothing else speaks against the run.
    [['search', ...flags, '--params', '1%', '--text', 'own'], 3, 'infeasible'],
    [['search', '--text', 'own', join(folder, 'nothing.txt')], 2, 'file-missing'],
    [['serach'], 2, 'bad-usage'],
  ];
  await writeFile(join(folder, 'wide.yaml'), 'attention: [teacher]\nffn: [teacher, { swiglu: 100000 }]\n');
  await writeFile(join(folder, 'empty.txt'), '\n');
  const files: typeof refusals = [
    [['search', '--space', join(folder, 'wide.yaml')], 2, 'file-invalid'],
    [['search', '--text', join(folder, 'empty.txt')], 2, 'text-invalid'],
    [['search', ...flags, '--store', join(folder, 'empty.txt', 'store')], 2, 'not-writable'],
  ];
  for (const [args, exit, code] of [...refusals, ...files]) {
    const outcome = await runPuzzle(...args, '--json');
    expect([args, outcome.code, JSON.parse(outcome.stdout).error?.code]).toEqual([args, exit, code]);
    expect(outcome.stderr).toContain(`[${code}]`);
  }
}, 300_000);

test('Ctrl-C ends with 130 and says how to go on', async () => {
  const store = join(folder, 'interrupted');
  const [program, ...args] = puzzleCommand(
    'search',
    ...flags,
    '--store',
    store,
    '--results',
    join(folder, 'r3'),
  );
  const child = spawn(program!, args, { stdio: ['ignore', 'ignore', 'pipe'] });
  let stderr = '';
  child.stderr.on('data', (chunk: Buffer) => (stderr += chunk.toString()));
  const exited = new Promise((resolve) => child.once('exit', resolve));
  while ((await jobsOf('interrupted').catch(() => [])).length < 4) await wait(50);
  child.kill('SIGINT');
  expect(await exited).toBe(130);
  expect(stderr).toContain('[interrupted]');
  expect(stderr).toContain('finished jobs are kept');
}, 120_000);
