/** A roofline as an SVG file: every block's rate under the roof of the device, and what its time waits for. */
import { formatAmount, formatNumber } from '../util/units.ts';
import { limits } from './call-time.ts';
import type { Limit } from './call-time.ts';
import type { Load, Roofline } from './roofline.ts';

const width = 860;
const chart = { left: 70, right: 24, top: 44, height: 330 } as const;
const bars = { left: 240, right: 150, row: 18, gap: 56 } as const;

/** Distinguishable in grey and by the colour-blind (Okabe & Ito, 2008). */
const colours: Readonly<Record<Limit, string>> = {
  compute: '#0072b2',
  memory: '#e69f00',
  launch: '#999999',
  network: '#d55e00',
};

const style = `
  .roofline { --ink: #24292f; --faint: #d0d7de; font: 12px system-ui, sans-serif; }
  @media (prefers-color-scheme: dark) { .roofline { --ink: #e6edf3; --faint: #3d444d; } }
  text { fill: var(--ink); } .title { font-size: 15px; font-weight: 600; } .end { text-anchor: end; }
  .middle { text-anchor: middle; } .grid { stroke: var(--faint); } .roof { stroke: var(--ink); fill: none; }`;

export function rooflinePicture(roofline: Roofline, title: string): string {
  const chartBottom = chart.top + chart.height;
  const height = chartBottom + bars.gap + 24 + roofline.loads.length * bars.row + 16;
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" class="roofline" viewBox="0 0 ${width} ${height}" role="img" aria-label="${escapeXml(title)}">`,
    `<style>${style}\n</style>`,
    `<text class="title" x="${chart.left}" y="24">${escapeXml(title)}</text>`,
    ...scatter(roofline, chartBottom),
    ...shareBars(roofline.loads, chartBottom + bars.gap),
    '</svg>',
    '',
  ].join('\n');
}

/** Both axes logarithmic: FLOP per byte, and FLOP/s under min(peak, intensity * bandwidth). Filled: prefill; rings: decode. */
function scatter({ loads, peakFlopsPerSecond, bytesPerSecond }: Roofline, bottom: number): string[] {
  const points = loads
    .filter(({ flops, bytes }) => flops > 0 && bytes > 0)
    .map((load) => ({ load, x: load.flops / load.bytes, y: (load.flops / load.ms) * 1e3 }));
  const ridge = peakFlopsPerSecond / bytesPerSecond;
  const xs = decades([ridge, ...points.map(({ x }) => x)]);
  const ys = decades([peakFlopsPerSecond, ...points.map(({ y }) => y)]);
  const right = width - chart.right;
  const px = (x: number): string => (chart.left + xs.position(x) * (right - chart.left)).toFixed(1);
  const py = (y: number): string => (bottom - ys.position(y) * chart.height).toFixed(1);
  const [first, last] = [xs.ticks[0]!, xs.ticks.at(-1)!];
  // The roof enters the picture at its left edge, or where it has risen to the lowest rate shown.
  const start = Math.max(first, ys.ticks[0]! / bytesPerSecond);
  return [
    ...xs.ticks.map(
      (x) =>
        `<path class="grid" d="M${px(x)} ${chart.top}V${bottom}"/><text class="middle" x="${px(x)}" y="${bottom + 16}">${formatNumber(x)}</text>`,
    ),
    ...ys.ticks.map(
      (y) =>
        `<path class="grid" d="M${chart.left} ${py(y)}H${right}"/><text class="end" x="${chart.left - 6}" y="${py(y)}" dy="4">${rate(y)}</text>`,
    ),
    `<text class="middle" x="${(chart.left + right) / 2}" y="${bottom + 34}">FLOP per byte moved</text>`,
    `<path class="roof" stroke-width="1.5" d="M${px(start)} ${py(start * bytesPerSecond)}L${px(ridge)} ${py(peakFlopsPerSecond)}H${px(last)}"/>`,
    ...points.map(({ load, x, y }) => {
      const fill = load.phase === 'prefill' ? colours[load.bound] : 'none';
      const radius = load.name === 'whole model' ? 7 : 4;
      return `<circle cx="${px(x)}" cy="${py(y)}" r="${radius}" fill="${fill}" stroke="${colours[load.bound]}" stroke-width="2"><title>${escapeXml(`${load.name}, ${load.phase}: ${rate(y)}FLOP/s at ${formatNumber(x)} FLOP per byte, bound by ${load.bound}`)}</title></circle>`;
    }),
    `<text class="end" x="${right}" y="${chart.top - 8}">dots: prefill, rings: decode, large: whole model</text>`,
  ];
}

/** A bar per block and phase, cut by what the time waits for. */
function shareBars(loads: readonly Load[], top: number): string[] {
  const length = width - bars.left - bars.right;
  const legend = limits.map((limit, i) => {
    const x = bars.left + i * 96;
    return `<rect x="${x}" y="${top - 4}" width="10" height="10" fill="${colours[limit]}"/><text x="${x + 15}" y="${top + 5}">${limit}</text>`;
  });
  const rows = loads.flatMap((load, i) => {
    const y = top + 20 + i * bars.row;
    let x = bars.left;
    const cuts = limits.map((limit) => {
      const cut = load.shares[limit] * length;
      const rect = `<rect x="${x.toFixed(1)}" y="${y}" width="${cut.toFixed(1)}" height="${bars.row - 5}" fill="${colours[limit]}"/>`;
      x += cut;
      return cut < 0.05 ? '' : rect;
    });
    const name = `${load.times > 1 ? `${load.times} x ` : ''}${load.name}, ${load.phase}`;
    return [
      `<text class="end" x="${bars.left - 8}" y="${y + 10}">${escapeXml(name)}</text>`,
      ...cuts,
      `<text x="${bars.left + length + 8}" y="${y + 10}">${formatAmount(load.ms, 'duration')}, ${load.bound}</text>`,
    ];
  });
  return [...legend, ...rows];
}

/** A logarithmic axis over whole decades. */
function decades(values: readonly number[]): {
  readonly position: (value: number) => number;
  readonly ticks: readonly number[];
} {
  const logs = values.map(Math.log10);
  const from = Math.floor(logs.reduce((a, b) => Math.min(a, b)));
  const to = Math.max(from + 1, Math.ceil(logs.reduce((a, b) => Math.max(a, b))));
  return {
    position: (value) => (Math.log10(value) - from) / (to - from),
    ticks: Array.from({ length: to - from + 1 }, (_, i) => 10 ** (from + i)),
  };
}

/** FLOP/s with a prefix: `100 T`. */
function rate(flopsPerSecond: number): string {
  const [scale, prefix] = (
    [
      [1e15, 'P'],
      [1e12, 'T'],
      [1e9, 'G'],
      [1e6, 'M'],
    ] as const
  ).find(([scale]) => flopsPerSecond >= scale) ?? [1, ''];
  return `${Number((flopsPerSecond / scale).toPrecision(3))} ${prefix}`;
}

const escapeXml = (text: string): string =>
  text.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('>', '&gt;').replaceAll('"', '&quot;');
