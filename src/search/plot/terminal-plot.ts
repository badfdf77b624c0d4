/** A scatter plot in braille characters, two by four dots a character, for terminals and logs. */
import { axis, type AxisSpec } from './axis.ts';

export interface PlotPoint {
  readonly x: number;
  readonly y: number;
}

interface PlotSpec {
  readonly x: AxisSpec;
  readonly y: AxisSpec;
  /** In characters, labels not counted. */
  readonly width?: number;
  readonly height?: number;
}

/** Bit of each dot of a braille character (Unicode 2800 block), by row and column. */
const dots = [
  [0x01, 0x08],
  [0x02, 0x10],
  [0x04, 0x20],
  [0x40, 0x80],
] as const;
const blank = 0x2800;

/** Draws finite points; lines end without trailing blanks. */
export function terminalPlot(
  points: readonly PlotPoint[],
  { x, y, width = 72, height = 18 }: PlotSpec,
): string {
  if (points.length === 0) return '(nothing to plot)';
  const xAxis = axis(
    x,
    points.map((point) => point.x),
    Math.max(2, Math.floor(width / 10)),
  );
  const yAxis = axis(
    y,
    points.map((point) => point.y),
    Math.max(2, Math.floor(height / 3)),
  );
  const cells = Array.from({ length: height }, () => new Uint8Array(width));
  for (const point of points) {
    const column = Math.round(xAxis.position(point.x) * (width * 2 - 1));
    const row = Math.round((1 - yAxis.position(point.y)) * (height * 4 - 1));
    cells[row >> 2]![column >> 1]! |= dots[row & 3]![(column & 1) as 0 | 1];
  }
  const labels = new Map(
    yAxis.ticks.map(({ value, label }) => [
      Math.round((1 - yAxis.position(value)) * (height * 4 - 1)) >> 2,
      label,
    ]),
  );
  const gutter = Math.max(...[...labels.values()].map((label) => label.length));
  const rows = cells.map((cell, r) => {
    const braille = Array.from(cell, (bits) => (bits === 0 ? ' ' : String.fromCodePoint(blank + bits))).join(
      '',
    );
    const label = labels.get(r);
    return `${(label ?? '').padStart(gutter)} ${label === undefined ? '│' : '┤'}${braille}`.trimEnd();
  });
  return [
    `${' '.repeat(gutter + 1)}${yAxis.title}`,
    ...rows,
    ...bottom(
      xAxis.ticks.map(({ value, label }) => ({ at: Math.round(xAxis.position(value) * (width - 1)), label })),
      gutter,
      width,
    ),
    `${' '.repeat(gutter + 2)}${xAxis.title.padStart(Math.floor((width + xAxis.title.length) / 2))}`,
  ].join('\n');
}

function bottom(
  ticks: readonly { readonly at: number; readonly label: string }[],
  gutter: number,
  width: number,
): string[] {
  const rule = Array.from({ length: width }, () => '─');
  let labels = '';
  for (const { at, label } of ticks) {
    rule[at] = '┬';
    const start = Math.max(0, at - Math.floor(label.length / 2));
    // A label that would touch its neighbour is left out; its tick stays.
    if (labels === '' || start > labels.length) labels = labels.padEnd(start) + label;
  }
  return [`${' '.repeat(gutter + 1)}└${rule.join('')}`, `${' '.repeat(gutter + 2)}${labels}`];
}
