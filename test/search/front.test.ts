/** Fronts of a size at which nobody tries every choice: two methods that share little find the same. */
import { expect, test } from 'vitest';
import { solveFront, type Front, type Problem } from '../../src/search/index.ts';
import { searchLibrary } from '../../bench/search-library.ts';

const memory = 0;
const time = 1;

/** The first layers of a library, time limited to a share of its range. */
function timed(layers: number, share: number, timeNoise: number): Problem {
  const library = searchLibrary('80x16', { seed: 4, timeNoise });
  const groups = library.groups.slice(0, layers);
  const sum = (pick: (...uses: number[]) => number): number =>
    groups.reduce(
      (total, { alternatives }) => total + pick(...alternatives.map(({ uses }) => uses[time]!)),
      library.resources[time]!.fixed,
    );
  const upper = sum(Math.min) + share * (sum(Math.max) - sum(Math.min));
  const resources = library.resources.with(time, { ...library.resources[time]!, upper });
  return { ...library, groups, resources };
}

/** A lower limit that nothing breaks, but of the axis: a dominated part could matter, so every point is solved for. */
const solvedPointByPoint = (problem: Problem): Promise<Front> =>
  solveFront(
    { ...problem, resources: problem.resources.with(memory, { ...problem.resources[memory]!, lower: 0 }) },
    memory,
  );

test.each([
  [6, 0.5, 0],
  [6, 0.7, 0.01],
  [8, 0.4, 0.01],
])(
  'with another budget the slabs of %i layers hold the points that solving for each finds',
  async (layers, share, timeNoise) => {
    const problem = timed(layers, share, timeNoise);
    const front = await solveFront(problem, memory);
    const expected = await solvedPointByPoint(problem);
    expect(front).toMatchObject({ complete: true, epsilon: 0 });
    expect(expected.complete).toBe(true);
    expect(front.points.length).toBeGreaterThan(10);
    expect(front.points.map(({ value }) => value.toPrecision(9))).toEqual(
      expected.points.map(({ value }) => value.toPrecision(9)),
    );
    expect(front.points.map(({ totals }) => totals[memory]!.toPrecision(12))).toEqual(
      expected.points.map(({ totals }) => totals[memory]!.toPrecision(12)),
    );
    for (const { totals } of front.points)
      expect(totals[time]).toBeLessThanOrEqual(problem.resources[time]!.upper! * (1 + 1e-12));
  },
  60_000,
);

test('a front that is cut short says so and holds the first points, each proven', async () => {
  const problem = timed(12, 0.6, 0.01);
  const whole = await solveFront(problem, memory);
  const lines = (front: Front): string[] =>
    front.points.map(({ value, totals }) => `${value.toPrecision(9)} ${totals[memory]!.toPrecision(12)}`);
  expect(whole.complete).toBe(true);
  const start = performance.now();
  const cut = await solveFront(problem, memory, { timeLimitMs: 25 });
  // The limit is looked at between steps that take milliseconds; a busy machine stretches them.
  expect(performance.now() - start).toBeLessThan(10_000);
  if (!cut.complete) expect(cut.points.length).toBeLessThan(whole.points.length);
  expect(lines(cut)).toEqual(lines(whole).slice(0, cut.points.length));

  const none = await solveFront(problem, memory, { timeLimitMs: 0 });
  expect(none).toMatchObject({ points: [], complete: false });
  const simple = { ...problem, resources: problem.resources.map(({ upper: _, ...rest }) => rest) };
  expect(await solveFront(simple, memory, { timeLimitMs: 0 })).toMatchObject({ complete: false });
}, 60_000);
