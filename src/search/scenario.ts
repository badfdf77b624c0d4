/** A search problem with the meaning of its numbers: what people call its resources, its teacher, its blocks. */
import { formatAmount, resolveAmount, type Amount, type Quantity } from '../util/units.ts';
import { PuzzleError } from '../util/errors.ts';
import type { Choice, Problem } from './problem.ts';

/** The problem says what to add up; the scenario says what the sums mean. Commands speak of a scenario. */
export interface Scenario {
  /** Without the budgets a user sets; limits and constraints of its own hold in every question asked of it. */
  readonly problem: Problem;
  readonly measures: readonly Measure[];
  /** Per group and alternative. */
  readonly blocks: readonly (readonly Blocks[])[];
  /** What relative budgets refer to. */
  readonly teacher: Choice;
  /** How the teacher was recognised, in words. */
  readonly teacherChosenBy: string;
  /** Per group and alternative: the score of each held-out sample, all in the same order. */
  readonly samples?: readonly (readonly Float64Array[])[];
}

/** The blocks that an alternative stands for; a pair has both. The labels are for people: `kv1`, `768`, `no-op`. */
export interface Blocks {
  readonly attention?: string;
  readonly ffn?: string;
}

/**
 * Something to bound: a resource's total, or a rate that is work divided by that total. A budget bounds a total from
 * above and a rate from below, so either way it is an upper limit of the resource.
 */
export interface Measure {
  /** `memory`, `latency`, `throughput`, `parameters`, or a name of the problem's own. */
  readonly name: string;
  readonly quantity: Quantity;
  /** Position in `problem.resources`, whose total is in the quantity's base unit, or for a rate in milliseconds. */
  readonly resource: number;
  /** For a rate: tokens made while the resource's total passes. */
  readonly tokens?: number;
}

export interface Budget {
  /** Name of a measure. */
  readonly measure: string;
  readonly limit: Amount;
}

/** A budget with its numbers, in the measure's base unit. */
export interface Limit {
  readonly measure: Measure;
  readonly value: number;
}

const millisecondsPerSecond = 1000;

/** The measure's value for a total of its resource; also the reverse, as a rate is its own inverse. */
export function measureValue({ tokens }: Pick<Measure, 'tokens'>, total: number): number {
  return tokens === undefined ? total : (tokens * millisecondsPerSecond) / total;
}

/** @throws PuzzleError `bad-usage` listing the measures there are. */
export function findMeasure({ measures }: Scenario, name: string): Measure {
  const found = measures.find((measure) => measure.name === name);
  if (found !== undefined) return found;
  const known = measures.map((measure) => measure.name).join(', ');
  throw new PuzzleError('bad-usage', `nothing here measures '${name}'`, {
    at: name,
    fix: `Use one of ${known || 'none: the library holds no costs'}.`,
    details: { known: measures.map((measure) => measure.name) },
  });
}

/** The teacher's value of a measure. */
export function teacherValue(scenario: Scenario, measure: Measure): number {
  return measureValue(measure, totalsOf(scenario.problem, scenario.teacher)[measure.resource]!);
}

/** Per resource the sum over a choice, with its fixed part. */
export function totalsOf({ groups, resources }: Problem, choice: Choice): number[] {
  return resources.map(({ fixed }, r) =>
    groups.reduce((sum, group, g) => sum + group.alternatives[choice[g]!]!.uses[r]!, fixed),
  );
}

/**
 * Budgets in numbers, relative ones against the teacher.
 *
 * @throws PuzzleError `bad-usage` on an unknown measure or the same one twice.
 */
export function resolveBudgets(scenario: Scenario, budgets: readonly Budget[]): readonly Limit[] {
  const seen = new Set<string>();
  return budgets.map(({ measure: name, limit }) => {
    const measure = findMeasure(scenario, name);
    if (seen.has(name)) {
      throw new PuzzleError('bad-usage', `two budgets for ${name}`, { at: name, fix: 'Keep one of them.' });
    }
    seen.add(name);
    return { measure, value: resolveAmount(limit, teacherValue(scenario, measure)) };
  });
}

/** The scenario's problem under budgets: each is an upper limit of its resource, the tightest wins. */
export function underLimits({ problem }: Scenario, limits: readonly Limit[]): Problem {
  const resources = problem.resources.map((resource, r) => {
    const uppers = limits
      .filter(({ measure }) => measure.resource === r)
      .map(({ measure, value }) => measureValue(measure, value));
    const upper = Math.min(resource.upper ?? Infinity, ...uppers);
    return upper === Infinity ? resource : { ...resource, upper };
  });
  return { ...problem, resources };
}

/** `memory <= 78.13 GiB`, `throughput >= 5 ktok/s`. */
export function describeLimit({ measure, value }: Limit): string {
  return `${measure.name} ${measure.tokens === undefined ? '<=' : '>='} ${formatAmount(value, measure.quantity)}`;
}

/**
 * What `count` constraints may refer to: `attention` and `ffn` for real blocks (neither no-op nor linear), and each
 * block with its label, `ffn:768`, `attention:no-op`.
 */
export function tagsOf({ attention, ffn }: Blocks): string[] {
  return [...slotTags('attention', attention), ...slotTags('ffn', ffn)];
}

function slotTags(slot: keyof Blocks, label: string | undefined): string[] {
  if (label === undefined) return [];
  return /^(no-op|linear|rank\d+)$/.test(label) ? [`${slot}:${label}`] : [slot, `${slot}:${label}`];
}
