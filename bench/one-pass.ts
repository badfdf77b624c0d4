/**
 * One-pass scores against replace-one on random blocks of SmolLM2-135M's fine library: rank correlation, level, seconds.
 *
 *     npx tsx bench/one-pass.ts [store] [blocks]      on the library that bench/smollm2.ts left in the store
 */
import { mkdir } from 'node:fs/promises';
import { terminalProgress } from '../src/cli/terminal-progress.ts';
import { closedFormOptions } from '../src/library/index.ts';
import { distil, openStore } from '../src/pipeline/index.ts';
import { measuredWindows } from '../src/pipeline/scoring.ts';
import { onePass, quadraticDamage, scoreReplacements } from '../src/score/index.ts';
import { writeFileAtomically } from '../src/util/atomic-file.ts';
import { seededRandom } from '../src/util/random.ts';
import { machine } from './machine.ts';
import { markdownTable, openSmolLM2, prepareSmolLM2 } from './smollm2-run.ts';

const [storePath = '.puzzle/store', asked = '110'] = process.argv.slice(2);
/** Beyond this KL a block is outside the quadratic range. */
const quadraticRange = 0.3;

const store = await openStore(storePath);
const teacher = await openSmolLM2();
const { report } = terminalProgress(process.stderr, { quiet: false });
try {
  const prepared = await prepareSmolLM2(teacher, 'smollm2-135m-fine', closedFormOptions, store, report);
  const { alternatives, teacherChoice, texts } = prepared;
  const { weights } = await distil(prepared, store, report);
  const execution = await teacher.execution();

  let start = performance.now();
  const predicted: number[][] = [];
  for await (const { slot, projections } of onePass({
    teacher: execution,
    alternatives,
    weights,
    text: texts.score,
    seed: 0,
    report,
  }))
    predicted[slot] = projections.map((projection) => mean(quadraticDamage(projection, texts.score.window)));
  const passSeconds = (performance.now() - start) / 1000;
  const blocks = alternatives.reduce((sum, group) => sum + group.length - 1, 0);

  const all = alternatives.flatMap((group, slot) =>
    group.flatMap((_, position) => (position === teacherChoice[slot] ? [] : [{ slot, position }])),
  );
  const picked = seededRandom(1).shuffle(all).slice(0, Number(asked));
  const places = alternatives.map((_, slot) =>
    picked.filter((place) => place.slot === slot).map(({ position }) => position),
  );
  start = performance.now();
  const pairs: { predicted: number; measured: number }[] = [];
  for await (const { slot, scores } of scoreReplacements({
    teacher: execution,
    alternatives: places.map((positions, slot) =>
      positions.map((position) => alternatives[slot]![position]!),
    ),
    weights,
    text: measuredWindows(texts.score),
    report,
  }))
    for (const [index, { kl }] of scores.entries())
      pairs.push({ predicted: predicted[slot]![places[slot]![index]!]!, measured: mean(kl) });
  const replaceSeconds = (performance.now() - start) / 1000;

  const inRange = pairs.filter(({ measured }) => measured < quadraticRange);
  const ratios = inRange.map(({ predicted: one, measured }) => one / measured).sort((a, b) => a - b);
  const quantile = (q: number): string => ratios[Math.floor(q * (ratios.length - 1))]!.toFixed(2);
  const rows = [
    ['blocks scored in one pass', String(blocks)],
    ['tokens', String(texts.score.ids.length)],
    ['seconds of the pass', passSeconds.toFixed(0)],
    [`random blocks measured, KL below ${quadraticRange}`, `${inRange.length} of ${pairs.length}`],
    [
      'Spearman correlation',
      spearman(
        inRange.map((pair) => pair.predicted),
        inRange.map((pair) => pair.measured),
      ).toFixed(3),
    ],
    ['predicted over measured: quartiles', `${quantile(0.25)}, ${quantile(0.5)}, ${quantile(0.75)}`],
    ['seconds of a replace-one score (a quarter of the text)', (replaceSeconds / pairs.length).toFixed(2)],
    [
      'replace-one of all blocks on the whole text would take, times as long as the pass',
      (((replaceSeconds / pairs.length) * 4 * blocks) / passSeconds).toFixed(0),
    ],
  ];
  const about = machine();
  await mkdir('bench/results', { recursive: true });
  await writeFileAtomically(
    'bench/results/one-pass.md',
    `# One-pass scores against replace-one\n\n${markdownTable(['SmolLM2-135M, fine space', ''], rows)}\n\n${JSON.stringify(about)}\n`,
  );
  await writeFileAtomically(
    'bench/results/one-pass.json',
    `${JSON.stringify({ machine: about, blocks, passSeconds, replaceSeconds, pairs }, null, 1)}\n`,
  );
} finally {
  await teacher.close();
}

function mean(values: readonly number[]): number {
  return values.reduce((sum, value) => sum + value, 0) / values.length;
}

function spearman(a: readonly number[], b: readonly number[]): number {
  const ranks = (values: readonly number[]): number[] => {
    const order = [...values.keys()].sort((i, j) => values[i]! - values[j]!);
    const rank: number[] = [];
    order.forEach((index, position) => (rank[index] = position));
    return rank;
  };
  const [x, y] = [ranks(a), ranks(b)];
  const middle = (a.length - 1) / 2;
  const covariance = (p: number[], q: number[]): number =>
    p.reduce((sum, value, i) => sum + (value - middle) * (q[i]! - middle), 0);
  return covariance(x, y) / Math.sqrt(covariance(x, x) * covariance(y, y));
}
