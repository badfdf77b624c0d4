import * as fc from 'fast-check';
import { expect, test } from 'vitest';
import { axis } from '../../../src/search/plot/axis.ts';
import { svgPlot } from '../../../src/search/plot/svg-plot.ts';
import { terminalPlot } from '../../../src/search/plot/terminal-plot.ts';

const gibi = 2 ** 30;
const spec = {
  x: { name: 'memory', quantity: 'bytes' },
  y: { name: 'kl <div>', quantity: 'score' },
} as const;

const values = fc.array(
  fc.oneof(
    fc.double({ min: -1e12, max: 1e12, noNaN: true }).map((value) => (Math.abs(value) < 1e-9 ? 0 : value)),
    fc.double({ min: 1e-6, max: 10, noNaN: true }),
    fc.constant(0),
  ),
  { minLength: 1, maxLength: 30 },
);

test('an axis holds all values, in order, between few and increasing ticks', () => {
  fc.assert(
    fc.property(values, fc.integer({ min: 2, max: 9 }), (shown, mostTicks) => {
      const { position, ticks } = axis({ name: 'x', quantity: 'score' }, shown, mostTicks);
      const positions = shown.toSorted((a, b) => a - b).map((value) => position(value));
      expect(Math.min(...positions)).toBeGreaterThanOrEqual(-1e-9);
      expect(Math.max(...positions)).toBeLessThanOrEqual(1 + 1e-9);
      positions.slice(1).forEach((at, i) => expect(at).toBeGreaterThanOrEqual(positions[i]!));
      const at = ticks.map(({ value }) => position(value));
      at.slice(1).forEach((tick, i) => expect(tick).toBeGreaterThan(at[i]!));
      expect(ticks.length).toBeGreaterThanOrEqual(1);
      expect(ticks.length).toBeLessThanOrEqual(mostTicks + 3);
    }),
  );
});

test('ticks are round numbers in the unit people use, decades where values span them', () => {
  const memory = axis(spec.x, [41 * gibi, 98 * gibi]);
  expect(memory.title).toBe('memory (GiB)');
  expect(memory.ticks.map(({ label }) => label)).toEqual(['40', '60', '80', '100']);
  const kl = axis(spec.y, [0, 0.3, 480]);
  expect(kl.title).toBe('kl <div> (log)');
  expect(kl.ticks.map(({ label }) => label)).toEqual(['0', '0.1', '1', '10', '100', '1000']);
});

const front = Array.from({ length: 60 }, (_, i) => ({ x: (40 + i) * gibi, y: 59 - i }));

test('a terminal plot has its size, one dot row falling with the front, and ticks below', () => {
  const lines = terminalPlot(front, { ...spec, width: 40, height: 10 }).split('\n');
  expect(lines).toHaveLength(14);
  const body = lines.slice(1, 11).map((line) => line.slice(line.search(/[│┤]/) + 1));
  const dots = body.map((line) => Array.from(line).flatMap((character, c) => (character === ' ' ? [] : [c])));
  expect(dots.flat().length).toBeGreaterThan(15);
  const means = dots.filter((row) => row.length > 0).map((row) => row.reduce((a, b) => a + b) / row.length);
  means.slice(1).forEach((mean, i) => expect(mean).toBeGreaterThan(means[i]!));
  expect(Math.max(...body.map((line) => line.length))).toBeLessThanOrEqual(40);
  expect(lines[12]).toMatch(/^ +40 +60 +80 +100$/);
  expect(terminalPlot([], spec)).toBe('(nothing to plot)');
});

test('an SVG plot shows every point inside the frame, with values as tooltips, and escapes text', () => {
  const svg = svgPlot(front, { title: 'Front & "more"', ...spec });
  const circles = [...svg.matchAll(/<circle cx="([\d.]+)" cy="([\d.]+)"/g)].map(([, x, y]) => [
    Number(x),
    Number(y),
  ]);
  expect(circles).toHaveLength(front.length);
  for (const [x, y] of circles) {
    expect(x).toBeGreaterThanOrEqual(76);
    expect(x).toBeLessThanOrEqual(736);
    expect(y).toBeGreaterThanOrEqual(44);
    expect(y).toBeLessThanOrEqual(384);
  }
  expect(svg).toContain('<title>memory 40 GiB, kl &lt;div&gt; 59</title>');
  expect(svg).toContain('aria-label="Front &amp; &quot;more&quot;"');
  expect(svg).toContain('prefers-color-scheme: dark');
  // Well-formed: every opened element is closed, in order.
  const open: string[] = [];
  const closed: [opened: string | undefined, by: string | undefined][] = [];
  for (const [, close, name, selfClosed] of svg.matchAll(/<(\/?)([a-z]+)[^>]*?(\/?)>/g)) {
    if (close === '/') closed.push([open.pop(), name]);
    else if (selfClosed !== '/') open.push(name!);
  }
  expect(open).toEqual([]);
  for (const [opened, by] of closed) expect(opened).toBe(by);
});
