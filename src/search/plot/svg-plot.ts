/** A front as an SVG file: axes with units, a staircase through its points, readable on light and dark pages. */
import { formatAmount, formatNumber } from '../../util/units.ts';
import { axis, type AxisSpec } from './axis.ts';
import type { PlotPoint } from './terminal-plot.ts';

interface SvgPlotSpec {
  readonly title: string;
  readonly x: AxisSpec;
  readonly y: AxisSpec;
}

const size = { width: 760, height: 440 } as const;
const frame = { left: 76, right: 24, top: 44, bottom: 56 } as const;

const style = `
  .plot { --ink: #24292f; --faint: #d0d7de; --line: #0969da; font: 12px system-ui, sans-serif; }
  @media (prefers-color-scheme: dark) { .plot { --ink: #e6edf3; --faint: #3d444d; --line: #58a6ff; } }
  text { fill: var(--ink); } .title { font-size: 15px; font-weight: 600; }
  .grid { stroke: var(--faint); } .axis { stroke: var(--ink); }
  .front { fill: none; stroke: var(--line); stroke-width: 1.5; } circle { fill: var(--line); }`;

/** @param points in ascending x: between two of them the first is the best there is, so the line is a staircase. */
export function svgPlot(points: readonly PlotPoint[], { title, x, y }: SvgPlotSpec): string {
  const shown = points.length > 0 ? points : [{ x: 0, y: 0 }];
  const xAxis = axis(
    x,
    shown.map((point) => point.x),
    8,
  );
  const yAxis = axis(
    y,
    shown.map((point) => point.y),
    7,
  );
  const right = size.width - frame.right;
  const bottom = size.height - frame.bottom;
  const px = (value: number): string =>
    (frame.left + xAxis.position(value) * (right - frame.left)).toFixed(1);
  const py = (value: number): string => (bottom - yAxis.position(value) * (bottom - frame.top)).toFixed(1);
  const staircase = points.map((point, i) =>
    i === 0 ? `M${px(point.x)} ${py(point.y)}` : `H${px(point.x)}V${py(point.y)}`,
  );
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" class="plot" viewBox="0 0 ${size.width} ${size.height}" role="img" aria-label="${escapeXml(title)}">`,
    `<style>${style}\n</style>`,
    `<text class="title" x="${frame.left}" y="24">${escapeXml(title)}</text>`,
    ...xAxis.ticks.map(
      ({ value, label }) =>
        `<path class="grid" d="M${px(value)} ${frame.top}V${bottom}"/><text x="${px(value)}" y="${bottom + 18}" text-anchor="middle">${escapeXml(label)}</text>`,
    ),
    ...yAxis.ticks.map(
      ({ value, label }) =>
        `<path class="grid" d="M${frame.left} ${py(value)}H${right}"/><text x="${frame.left - 8}" y="${py(value)}" dy="4" text-anchor="end">${escapeXml(label)}</text>`,
    ),
    `<path class="axis" d="M${frame.left} ${frame.top}V${bottom}H${right}" fill="none"/>`,
    `<text x="${(frame.left + right) / 2}" y="${size.height - 14}" text-anchor="middle">${escapeXml(xAxis.title)}</text>`,
    `<text transform="translate(18 ${(frame.top + bottom) / 2}) rotate(-90)" text-anchor="middle">${escapeXml(yAxis.title)}</text>`,
    `<path class="front" d="${staircase.join('')}"/>`,
    ...points.map(
      (point) =>
        `<circle cx="${px(point.x)}" cy="${py(point.y)}" r="2"><title>${escapeXml(`${describe(point.x, x)}, ${describe(point.y, y)}`)}</title></circle>`,
    ),
    '</svg>',
    '',
  ].join('\n');
}

const describe = (value: number, { name, quantity }: AxisSpec): string =>
  `${name} ${quantity === 'score' ? formatNumber(value) : formatAmount(value, quantity)}`;

const escapeXml = (text: string): string =>
  text.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('>', '&gt;').replaceAll('"', '&quot;');
