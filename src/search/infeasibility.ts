/** Why nothing fits: how far each budget is from the nearest feasible value, and which demands conflict. */
import { PuzzleError } from '../util/errors.ts';
import { formatAmount } from '../util/units.ts';
import { bundleConstraints } from './explain.ts';
import { minimiseResource } from './exchange-objective.ts';
import type { Problem, SolveOptions } from './problem.ts';
import { describeLimit, measureValue, underLimits, type Limit, type Scenario } from './scenario.ts';
import { solve } from './solve.ts';

export interface Infeasibility {
  readonly relaxations: readonly Relaxation[];
  /** Demands that cannot all hold, though any all but one of them can. */
  readonly conflict: readonly Demand[];
}

export interface Relaxation {
  readonly limit: Limit;
  /** The nearest value of this budget that something fits, all else as it is; undefined when none does. */
  readonly nearest: number | undefined;
}

type Demand =
  | { readonly kind: 'budget'; readonly limit: Limit }
  /** Positions in `problem.constraints`. */
  | { readonly kind: 'constraints'; readonly constraints: readonly number[] };

/** Explains an infeasible scenario; every number is the proven optimum of a program of its own. */
export async function explainInfeasibility(
  scenario: Scenario,
  limits: readonly Limit[],
  options: SolveOptions = {},
): Promise<Infeasibility> {
  const relaxations: Relaxation[] = [];
  for (const limit of limits) {
    relaxations.push({ limit, nearest: await nearestFeasible(scenario, limits, limit, options) });
  }
  return { relaxations, conflict: await minimalConflict(scenario, limits, options) };
}

async function nearestFeasible(
  scenario: Scenario,
  limits: readonly Limit[],
  limit: Limit,
  options: SolveOptions,
): Promise<number | undefined> {
  const { measure } = limit;
  // Another budget, or the problem itself, may bound the same resource: those limits stay.
  const others = limits.filter((other) => other !== limit);
  const least = await solve(minimiseResource(underLimits(scenario, others), measure.resource), options);
  return least.choice.length === 0 ? undefined : measureValue(measure, least.value);
}

/**
 * The deletion filter (Chinneck & Dravnieks, "Locating minimal infeasible constraint sets in linear programs", 1991):
 * drop a demand for good when the rest is still infeasible.
 */
async function minimalConflict(
  scenario: Scenario,
  limits: readonly Limit[],
  options: SolveOptions,
): Promise<readonly Demand[]> {
  let kept: readonly Demand[] = [
    ...limits.map((limit): Demand => ({ kind: 'budget', limit })),
    ...bundleConstraints(scenario.problem).map((constraints): Demand => ({
      kind: 'constraints',
      constraints,
    })),
  ];
  for (const demand of kept) {
    const rest = kept.filter((other) => other !== demand);
    const { status } = await solve(withDemands(scenario, rest), options);
    if (status === 'infeasible') kept = rest;
  }
  return kept;
}

function withDemands(scenario: Scenario, demands: readonly Demand[]): Problem {
  const limits = demands.flatMap((demand) => (demand.kind === 'budget' ? [demand.limit] : []));
  const wanted = new Set(
    demands.flatMap((demand) => (demand.kind === 'constraints' ? demand.constraints : [])),
  );
  const problem = underLimits(scenario, limits);
  return { ...problem, constraints: problem.constraints.filter((_, c) => wanted.has(c)) };
}

/** The `infeasible` error of a command: names the nearest feasible value of each budget. */
export function infeasibleError(
  scenario: Scenario,
  limits: readonly Limit[],
  { relaxations, conflict }: Infeasibility,
): PuzzleError {
  const ways = relaxations.flatMap(({ limit: { measure }, nearest }) =>
    nearest === undefined ? [] : [`${measure.name} to ${formatAmount(nearest, measure.quantity)}`],
  );
  const demands = conflict.map((demand) => describeDemand(scenario.problem, demand));
  return new PuzzleError(
    'infeasible',
    `No architecture fits ${limits.map(describeLimit).join(' and ') || 'the constraints'}.`,
    {
      at: demands.join(' + '),
      fix:
        ways.length > 0
          ? `Relax ${ways.join(', or ')}.`
          : `No single budget is enough to relax: give way on one of ${demands.join(', ')} at a time.`,
      details: {
        budgets: relaxations.map(({ limit: { measure, value }, nearest = null }) => ({
          name: measure.name,
          limit: value,
          nearest,
        })),
        conflict: demands,
      },
    },
  );
}

/** A demand in words: `memory <= 20 GiB`, `forbid in layer_3`, `count attention`. */
function describeDemand(problem: Problem, demand: Demand): string {
  return demand.kind === 'budget'
    ? describeLimit(demand.limit)
    : describeConstraints(problem, demand.constraints);
}

/** Constraints of one bundle in words. */
export function describeConstraints({ groups, constraints }: Problem, bundle: readonly number[]): string {
  const first = constraints[bundle[0]!]!;
  if (first.kind === 'count') return `count ${first.tag}${range(first)}`;
  if (first.kind === 'differ') return `differ${range(first)} ${first.unit ?? 'group'}s`;
  if (first.kind === 'equal') return `equal over ${first.groups.length} groups`;
  const { name, alternatives } = groups[first.group]!;
  const forced = bundle.map((c) => constraints[c]!).find((constraint) => constraint.kind === 'force');
  return forced === undefined
    ? `${name}: ${bundle.length} of ${alternatives.length} forbidden`
    : `${name}: force ${alternatives[forced.alternative]!.name}`;
}

function range({ atLeast, atMost }: { readonly atLeast?: number; readonly atMost?: number }): string {
  return `${atLeast === undefined ? '' : ` >= ${atLeast}`}${atMost === undefined ? '' : ` <= ${atMost}`}`;
}
