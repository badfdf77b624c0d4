/** The picture of an architecture: a column per layer, attention above and FFN below, bars as high as what was kept. */

export interface PicturedBlock {
  /** As in the tables: `teacher`, `kv1`, `h6-kv3`, `768`, `rank192`, `linear`, `no-op`. */
  readonly label: string;
  /** Name of the block's kind; decides the colour. */
  readonly kind: string;
  /** Parameters, as a share of the teacher's block. */
  readonly share: number;
  /** Damage of the choice; undefined for the teacher's own block. */
  readonly score?: number;
}

export interface PicturedLayer {
  readonly index: number;
  readonly attention?: PicturedBlock;
  readonly ffn?: PicturedBlock;
}

const column = { width: 22, gap: 4 };
const bar = { height: 90 };
const margin = { left: 78, right: 16, top: 46, between: 34, bottom: 44 };

/** Distinguishable in grey and by the colour-blind (Okabe & Ito, 2008); unlisted kinds are grey. */
const colours: Readonly<Record<string, string>> = {
  teacher: '#0072b2',
  gqa: '#56b4e9',
  swiglu: '#56b4e9',
  linear: '#e69f00',
  'low-rank': '#e69f00',
  'no-op': '#d55e00',
};
const otherColour = '#999999';

/** An SVG document, readable on light and dark pages. */
export function architecturePicture(layers: readonly PicturedLayer[], title: string): string {
  const width = Math.max(420, margin.left + layers.length * (column.width + column.gap) + margin.right);
  const ffnTop = margin.top + bar.height + margin.between;
  const height = ffnTop + bar.height + margin.between + margin.bottom;
  const columns = layers.flatMap((layer, position) => {
    const x = margin.left + position * (column.width + column.gap);
    return [
      layer.attention === undefined ? '' : block(layer.attention, layer.index, 'attention', x, margin.top),
      layer.ffn === undefined ? '' : block(layer.ffn, layer.index, 'FFN', x, ffnTop),
      text(x + column.width / 2, ffnTop + bar.height + 26, String(layer.index), 'middle', 10),
    ];
  });
  const legend = ['teacher', 'swiglu', 'linear', 'no-op'].flatMap((kind, position) => {
    const x = margin.left + position * 92;
    const name = kind === 'swiglu' ? 'reduced' : kind;
    return [
      `<rect x="${x}" y="${height - 16}" width="10" height="10" fill="${colours[kind]!}"/>`,
      text(x + 15, height - 7, name, 'start', 11),
    ];
  });
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" width="${width}" height="${height}" viewBox="0 0 ${width} ${height}" font-family="system-ui, sans-serif">`,
    `<rect width="${width}" height="${height}" fill="#ffffff"/>`,
    text(margin.left, 22, title, 'start', 14),
    text(margin.left - 8, margin.top + bar.height / 2, 'attention', 'end', 12),
    text(margin.left - 8, ffnTop + bar.height / 2, 'FFN', 'end', 12),
    text(margin.left - 8, ffnTop + bar.height + 26, 'layer', 'end', 10),
    ...columns,
    ...legend,
    '</svg>',
    '',
  ].join('\n');
}

function block(content: PicturedBlock, layer: number, slot: string, x: number, top: number): string {
  const height = Math.max(content.share > 0 ? 2 : 0, Math.min(1, content.share) * bar.height);
  const damage = content.score === undefined ? '' : `, damage ${content.score.toPrecision(3)}`;
  return [
    `<g><title>layer ${layer} ${slot}: ${escape(content.label)}, ${(100 * content.share).toFixed(1)} % of the parameters${damage}</title>`,
    `<rect x="${x}" y="${top}" width="${column.width}" height="${bar.height}" fill="#f0f0f0"/>`,
    `<rect x="${x}" y="${round(top + bar.height - height)}" width="${column.width}" height="${round(height)}" fill="${colours[content.kind] ?? otherColour}"/>`,
    text(x + column.width / 2, top + bar.height + 12, content.label, 'middle', 8),
    '</g>',
  ].join('');
}

const text = (x: number, y: number, content: string, anchor: string, size: number): string =>
  `<text x="${round(x)}" y="${round(y)}" font-size="${size}" text-anchor="${anchor}" fill="#222222">${escape(content)}</text>`;

const round = (value: number): number => Math.round(value * 100) / 100;

const escape = (content: string): string =>
  content.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('>', '&gt;').replaceAll('"', '&quot;');
