/**
 * The public block-library JSON: per layer named variants, each with the statistics and metrics of the whole layer.
 *
 *     { "layer_0": { "attention = 8 kv heads && ffn = no_op": {
 *         "stats": { "memory_mib": 765.1, "runtime_ms": 353.8, "num_params": 151003136 },
 *         "metrics": { "kl_div": 0.3, "lm_loss": 1.7 } } } }
 */
import { z } from 'zod';
import { PuzzleError } from '../util/errors.ts';
import { checkAgainst } from '../util/json.ts';
import type { Quantity } from '../util/units.ts';
import type { Alternative, Group, Objective } from './problem.ts';
import { tagsOf, type Blocks, type Measure, type Scenario } from './scenario.ts';

export interface LibraryOptions {
  /** Name of a metric of the library; its sum over the layers is minimised or maximised. */
  readonly metric: string;
  /** `minimise` if absent, as KL and losses ask for. */
  readonly sense?: Objective['sense'];
  /** Tokens that the whole model makes in the sum of `runtime_ms`: batch x sequence length. Needed for throughput. */
  readonly tokens?: number;
}

/** Numbers of any name are welcome; those we use are checked where they are used. */
const numbers = z.record(z.string(), z.unknown());
const variantSchema = z.strictObject({ stats: numbers, metrics: numbers });
const librarySchema = z.record(z.string(), z.record(z.string(), variantSchema));
type Variant = z.output<typeof variantSchema>;

const mebibyte = 1024 ** 2;

/** The statistics we understand. A library may lack any of them, but not for some variants only. */
const knownStats: readonly {
  readonly key: string;
  readonly measure: string;
  readonly quantity: Quantity;
  readonly scale: number;
}[] = [
  { key: 'memory_mib', measure: 'memory', quantity: 'bytes', scale: mebibyte },
  { key: 'runtime_ms', measure: 'latency', quantity: 'duration', scale: 1 },
  { key: 'num_params', measure: 'parameters', quantity: 'count', scale: 1 },
];

/** Beyond any layer that can exist; a larger number is an error of unit or of writing. */
const largestStatistic = 1e15;

/**
 * Reads a parsed block library as a scenario: one group per layer, resources `memory` (bytes), `latency` (ms) and
 * `parameters`, no fixed parts (the format has none).
 *
 * @param json what `parseJson` made of the file.
 * @param at the file's name, for errors.
 * @throws PuzzleError `file-invalid` naming layer, variant and field; `bad-usage` on an unknown metric.
 */
export function readBlockLibrary(
  json: unknown,
  at: string,
  { metric, sense = 'minimise', tokens }: LibraryOptions,
): Scenario {
  const library = checkAgainst(librarySchema, json, at, 'Give { layer: { variant: { stats, metrics } } }.');
  const layers = orderedLayers(library, at);
  checkMetric(layers, metric, at);
  const stats = knownStats.filter(({ key }) =>
    layers.some(({ variants }) => variants.some(([, { stats }]) => key in stats)),
  );
  const groups = layers.map(({ name, index, variants }): Group => {
    const alternatives = variants.map(([variant, { stats: values, metrics }]): Alternative => {
      const place = `${at}: ${name}: ${variant}`;
      return {
        name: variant,
        score: numberAt(metrics, metric, `${place}: metrics`),
        uses: stats.map(({ key, scale }) => scale * costAt(values, key, `${place}: stats`)),
        tags: tagsOf(blocksOf(variant)),
      };
    });
    return { name, layer: index, alternatives };
  });
  const measures: Measure[] = stats.map(({ measure, quantity }, resource) => ({
    name: measure,
    quantity,
    resource,
  }));
  const latency = measures.find(({ name }) => name === 'latency');
  if (latency !== undefined && tokens !== undefined) {
    measures.push({ name: 'throughput', quantity: 'rate', resource: latency.resource, tokens });
  }
  const resources = stats.map(({ measure }) => ({ name: measure, fixed: 0 }));
  return {
    problem: { groups, resources, objective: { sense, metric }, constraints: [] },
    measures,
    blocks: groups.map(({ alternatives }) => alternatives.map(({ name }) => blocksOf(name))),
    ...recogniseTeacher(
      layers,
      groups,
      stats.map(({ key }) => key),
    ),
  };
}

interface Layer {
  readonly name: string;
  readonly index: number;
  readonly variants: readonly (readonly [string, Variant])[];
}

/** Layers by the number in their name, `layer_0` first. */
function orderedLayers(library: z.output<typeof librarySchema>, at: string): readonly Layer[] {
  const entries = Object.entries(library);
  if (entries.length === 0) fail(`${at}: the library has no layer`, at, 'Give at least one layer.');
  const byIndex = new Map<number, Layer>();
  for (const [name, layer] of entries) {
    const digits = /^(?:\w*?_)?(\d{1,6})$/.exec(name)?.[1];
    if (digits === undefined) {
      fail(`${at}: '${name}' is no layer name`, `${at}: ${name}`, 'Name layers layer_0, layer_1, ...');
    }
    const index = Number(digits);
    const twin = byIndex.get(index);
    if (twin !== undefined) {
      fail(`${at}: ${name} is the same layer as ${twin.name}`, `${at}: ${name}`, 'Keep one of them.');
    }
    const variants = Object.entries(layer);
    if (variants.length === 0)
      fail(`${at}: ${name} has no variant`, `${at}: ${name}`, 'Give it at least one.');
    byIndex.set(index, { name, index, variants });
  }
  return [...byIndex.values()].sort((a, b) => a.index - b.index);
}

function checkMetric(layers: readonly Layer[], metric: string, at: string): void {
  const known = new Set(
    layers.flatMap(({ variants }) => variants.flatMap(([, { metrics }]) => Object.keys(metrics))),
  );
  if (known.has(metric)) return;
  throw new PuzzleError('bad-usage', `the library has no metric '${metric}'`, {
    at: `${at}: metrics`,
    value: metric,
    fix: `Use --objective ${[...known].join(' or ') || '... (the library has no metrics at all)'}.`,
    details: { known: [...known] },
  });
}

function numberAt(values: Readonly<Record<string, unknown>>, key: string, place: string): number {
  const value = values[key];
  if (typeof value === 'number' && Number.isFinite(value)) return value;
  const what = value === undefined ? 'is missing' : `is ${JSON.stringify(value)}, no finite number`;
  return fail(`${place}: ${key} ${what}`, `${place}: ${key}`, 'Give every variant a finite number.', value);
}

function costAt(values: Readonly<Record<string, unknown>>, key: string, place: string): number {
  const value = numberAt(values, key, place);
  if (value >= 0 && value <= largestStatistic) return value;
  const what = value < 0 ? 'is negative' : 'is absurdly large';
  return fail(
    `${place}: ${key} ${what}`,
    `${place}: ${key}`,
    `Give a number from 0 to ${largestStatistic}.`,
    value,
  );
}

function fail(message: string, at: string, fix: string, value?: unknown): never {
  throw new PuzzleError('file-invalid', message, { at, fix, ...(value !== undefined && { value }) });
}

/** `attention = 8 kv heads (parent * 100%) && ffn = no_op` -> { attention: '8 kv heads', ffn: 'no-op' } */
function blocksOf(variant: string): Blocks {
  const labels = variant
    .split('&&')
    .map((part) => /^\s*(attention|ffn)\s*=\s*(.+?)\s*(?:\(.*\))?\s*$/.exec(part));
  return Object.fromEntries(
    labels.flatMap((match) => (match === null ? [] : [[match[1]!, plainLabel(match[2]!)]])),
  );
}

const plainLabel = (label: string): string => (/^no[-_ ]?op$/i.test(label) ? 'no-op' : label);

/**
 * The format does not mark the teacher. In each layer it is the one variant with a KL of exactly 0; where KL does not
 * tell, the most expensive variant: most parameters, then memory, then runtime.
 */
function recogniseTeacher(
  layers: readonly Layer[],
  groups: readonly Group[],
  stats: readonly string[],
): Pick<Scenario, 'teacher' | 'teacherChosenBy'> {
  const order = ['num_params', 'memory_mib', 'runtime_ms']
    .map((key) => stats.indexOf(key))
    .filter((r) => r >= 0);
  let byDivergence = 0;
  const teacher = groups.map(({ alternatives }, g) => {
    const undamaged = layers[g]!.variants.flatMap(([, { metrics }], a) =>
      metrics['kl_div'] === 0 ? [a] : [],
    );
    if (undamaged.length === 1) {
      byDivergence++;
      return undamaged[0]!;
    }
    const dearer = (a: number, b: number): number => {
      const differs = order.find((r) => alternatives[a]!.uses[r] !== alternatives[b]!.uses[r]);
      return differs === undefined ? 0 : alternatives[b]!.uses[differs]! - alternatives[a]!.uses[differs]!;
    };
    const candidates = undamaged.length > 0 ? undamaged : alternatives.map((_, a) => a);
    return candidates.toSorted(dearer)[0]!;
  });
  const rest = groups.length - byDivergence;
  const teacherChosenBy = [
    ...(byDivergence > 0 ? [`the variant with kl_div 0 in ${byDivergence} layers`] : []),
    ...(rest > 0 ? [`the most expensive variant in ${rest} layers`] : []),
  ].join(', ');
  return { teacher, teacherChosenBy };
}
