/** The JSON documents that commands print, schema `puzzle/search-result@1` and its parts. */
import type { Quantity } from '../util/units.ts';
import type { BatchSweep } from './batch-sweep.ts';
import type { BudgetReport } from './budget-report.ts';
import type { Choice, Solution } from './problem.ts';
import { measureValue, totalsOf, type Measure, type Scenario } from './scenario.ts';

/** One row per batch of a sweep. */
export function batchDocuments({ rows, best }: BatchSweep): BatchDocument[] {
  return rows.map((row) => ({
    batch: row.batch,
    status: row.solution.status,
    value: row.solution.choice.length > 0 ? row.solution.value : null,
    throughputTokensPerSecond: row.throughput ?? null,
    best: row === best,
  }));
}

/** Value of every measure, keyed with its unit: `memoryBytes`, `latencyMs`, `throughputTokensPerSecond`, `parameters`. */
export type Costs = Readonly<Record<string, number>>;

interface LayerDocument {
  readonly index: number;
  readonly attention: string | null;
  readonly ffn: string | null;
  readonly score: number;
  /** Names of the layer's chosen alternatives where they say more than the blocks' labels. */
  readonly variant?: string;
}

interface ArchitectureDocument {
  readonly objective: {
    readonly metric: string;
    readonly value: number;
    readonly bound: number;
    readonly gap: number | null;
  };
  readonly costs: Costs;
  readonly layers: readonly LayerDocument[];
}

interface BudgetDocument {
  readonly name: string;
  readonly limit: number;
  readonly used: number;
  readonly binding: boolean;
  /** Score that one more unit (byte, ms, token/s, parameter) of this budget buys; null without duals. */
  readonly shadowPrice: number | null;
}

/** What a batch gave; `value` and `throughputTokensPerSecond` are null where nothing fits or nothing measures it. */
interface BatchDocument {
  readonly batch: number;
  readonly status: Solution['status'];
  readonly value: number | null;
  readonly throughputTokensPerSecond: number | null;
  readonly best: boolean;
}

export interface SearchResultDocument extends ArchitectureDocument {
  readonly schema: 'puzzle/search-result@1';
  readonly status: Solution['status'];
  readonly teacher: ArchitectureDocument['costs'] & { readonly chosenBy: string };
  readonly budgets: readonly BudgetDocument[];
  /** Present when several were asked for; the first is the one above. */
  readonly solutions?: readonly (ArchitectureDocument & { readonly status: Solution['status'] })[];
  readonly solver: { readonly name: string; readonly milliseconds: number; readonly nodes: number };
}

/** @param solutions at least one; the first is the result, the others are listed with it. */
export function searchResultDocument(
  scenario: Scenario,
  solutions: readonly Solution[],
  reports: readonly BudgetReport[],
): SearchResultDocument {
  const solution = solutions[0]!;
  return {
    schema: 'puzzle/search-result@1',
    status: solution.status,
    ...architectureDocument(scenario, solution),
    teacher: {
      ...costsOf(scenario, scenario.teacher),
      chosenBy: scenario.teacherChosenBy,
    } as SearchResultDocument['teacher'],
    budgets: reports.map(budgetDocument),
    ...(solutions.length > 1 && {
      solutions: solutions.map((each) => ({ status: each.status, ...architectureDocument(scenario, each) })),
    }),
    solver: { name: solution.solver, milliseconds: solution.milliseconds, nodes: solution.nodes },
  };
}

export function architectureDocument(scenario: Scenario, solution: Solution): ArchitectureDocument {
  const { value, bound, gap, choice } = solution;
  return {
    objective: {
      metric: scenario.problem.objective.metric,
      value,
      bound,
      gap: Number.isFinite(gap) ? gap : null,
    },
    costs: costsOf(scenario, choice),
    layers: layersOf(scenario, choice),
  };
}

export function budgetDocument({ limit, used, binding, shadowPrice }: BudgetReport): BudgetDocument {
  return { name: limit.measure.name, limit: limit.value, used, binding, shadowPrice: shadowPrice ?? null };
}

const unitSuffix: Readonly<Record<Quantity, string>> = {
  bytes: 'Bytes',
  duration: 'Ms',
  rate: 'TokensPerSecond',
  count: '',
  score: '',
};

/** The document's key of a measure: `memoryBytes`. */
const costKey = ({ name, quantity }: Measure): string => name + unitSuffix[quantity];

/** Every measure of a choice. */
export function costsOf({ problem, measures }: Scenario, choice: Choice): Costs {
  const totals = totalsOf(problem, choice);
  return Object.fromEntries(
    measures.map((measure) => [costKey(measure), measureValue(measure, totals[measure.resource]!)]),
  );
}

/** Choices by layer, the blocks by label; a layer's score is the sum over its groups. */
export function layersOf({ problem: { groups }, blocks }: Scenario, choice: Choice): LayerDocument[] {
  const layers = new Map<
    number,
    { attention: string | null; ffn: string | null; score: number; names: string[] }
  >();
  groups.forEach(({ layer, alternatives }, g) => {
    const entry = layers.get(layer) ?? { attention: null, ffn: null, score: 0, names: [] };
    const { name, score } = alternatives[choice[g]!]!;
    const { attention, ffn } = blocks[g]![choice[g]!]!;
    entry.attention = attention ?? entry.attention;
    entry.ffn = ffn ?? entry.ffn;
    entry.score += score;
    if (name !== attention && name !== ffn) entry.names.push(name);
    layers.set(layer, entry);
  });
  return [...layers.entries()].map(([index, { attention, ffn, score, names }]) => ({
    index,
    attention,
    ffn,
    score,
    ...(names.length > 0 && { variant: names.join(' + ') }),
  }));
}
