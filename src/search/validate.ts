/** Refuses a problem that no solver should see, naming the place at fault. */

import { PuzzleError } from '../util/errors.ts';
import type { Constraint, Group, Problem } from './problem.ts';

/** Far beyond any model (126 layers x 200 alternatives x 3 budgets), far below what fills a machine's memory. */
const sizeLimits = { groups: 10_000, alternatives: 1_000_000, resources: 64, constraints: 10_000 } as const;

/** Sums and products of such numbers stay finite. */
const largestNumber = 1e100;

/**
 * Checks a problem that came from outside.
 *
 * @throws PuzzleError `bad-problem`: NaN or absurd numbers, wrong lengths, an empty group, duplicate names,
 *   contradictory limits, indices out of range, sizes beyond `sizeLimits`.
 */
export function validate(problem: Problem): void {
  checkSizes(problem);
  const { resources, groups, objective, constraints } = problem;
  if (objective.fixed !== undefined) checkNumber(objective.fixed, 'objective.fixed');
  checkNames(resources, 'resources');
  for (const resource of resources) {
    const at = `resource ${resource.name}`;
    checkNumber(resource.fixed, `${at}: fixed`);
    if (resource.lower !== undefined) checkNumber(resource.lower, `${at}: lower`);
    if (resource.upper !== undefined) checkNumber(resource.upper, `${at}: upper`);
    checkLimits(resource.lower, resource.upper, at);
  }
  checkNames(groups, 'groups');
  const resourceNames = resources.map(({ name }) => name);
  for (const group of groups) checkGroup(group, resourceNames);
  constraints.forEach((constraint, c) =>
    checkConstraint(problem, constraint, `constraints[${c}] (${constraint.kind})`),
  );
}

function fail(message: string, at: string, value: unknown, fix: string): never {
  throw new PuzzleError('bad-problem', `${at}: ${message}`, { at, value, fix });
}

function checkSizes({ groups, resources, constraints }: Problem): void {
  const sizes = {
    groups: groups.length,
    alternatives: groups.reduce((sum, group) => sum + group.alternatives.length, 0),
    resources: resources.length,
    constraints: constraints.length,
  };
  if (sizes.groups === 0)
    fail('there are no groups', 'groups', 0, 'Give at least one group of alternatives.');
  for (const name of Object.keys(sizes) as (keyof typeof sizes)[]) {
    const limit = sizeLimits[name];
    if (sizes[name] > limit) fail(`more than ${limit}`, name, sizes[name], `Reduce the number of ${name}.`);
  }
}

function checkNames(items: readonly { readonly name: string }[], at: string): void {
  const seen = new Set<string>();
  for (const { name } of items) {
    if (seen.has(name)) fail(`"${name}" occurs twice`, at, name, 'Give each a name of its own.');
    seen.add(name);
  }
}

/** The place may be worked out only when it is needed: there are thousands of numbers. */
function checkNumber(value: number, at: string | (() => string)): void {
  if (Number.isFinite(value) && Math.abs(value) <= largestNumber) return;
  const place = typeof at === 'string' ? at : at();
  fail(`${value} is not a usable number`, place, value, `Give a finite number of at most ${largestNumber}.`);
}

function checkLimits(lower = -Infinity, upper = Infinity, at: string): void {
  if (lower > upper) {
    fail(
      `the lower limit ${lower} is above the upper limit ${upper}`,
      at,
      [lower, upper],
      'Give limits that leave room.',
    );
  }
}

function checkGroup(group: Group, resources: readonly string[]): void {
  const at = `group ${group.name}`;
  checkInteger(group.layer, 0, Number.MAX_SAFE_INTEGER, `${at}: layer`);
  if (group.alternatives.length === 0)
    fail('there are no alternatives', at, [], 'Give at least one alternative.');
  checkNames(group.alternatives, at);
  for (const { name, score, uses } of group.alternatives) {
    checkNumber(score, () => `${at}: ${name}: score`);
    if (uses.length !== resources.length) {
      fail(
        `${uses.length} uses for ${resources.length} resources`,
        `${at}: ${name}`,
        uses,
        'Give one number per resource.',
      );
    }
    for (const [r, use] of uses.entries()) checkNumber(use, () => `${at}: ${name}: ${resources[r]}`);
  }
}

function checkInteger(value: number, least: number, most: number, at: string): void {
  if (!Number.isInteger(value) || value < least || value > most) {
    fail(`${value} is not a whole number in ${least}..${most}`, at, value, 'Give a number in this range.');
  }
}

function checkConstraint({ groups }: Problem, constraint: Constraint, at: string): void {
  const checkAlternative = (g: number, alternative: number, place: string): void => {
    checkInteger(g, 0, groups.length - 1, place);
    checkInteger(alternative, 0, groups[g]!.alternatives.length - 1, place);
  };
  switch (constraint.kind) {
    case 'forbid':
    case 'force':
      checkAlternative(constraint.group, constraint.alternative, at);
      return;
    case 'differ':
      if (constraint.from.length !== groups.length) {
        fail(
          `${constraint.from.length} choices for ${groups.length} groups`,
          at,
          constraint.from,
          'Give one per group.',
        );
      }
      constraint.from.forEach((alternative, g) => checkAlternative(g, alternative, `${at}: from[${g}]`));
      checkCounts(constraint, at);
      return;
    case 'count':
      constraint.layers?.forEach((layer) => checkInteger(layer, 0, Number.MAX_SAFE_INTEGER, `${at}: layers`));
      checkCounts(constraint, at);
      return;
    case 'equal':
      constraint.groups.forEach((g) => checkInteger(g, 0, groups.length - 1, at));
  }
}

function checkCounts(
  { atLeast = 0, atMost }: { readonly atLeast?: number; readonly atMost?: number },
  at: string,
): void {
  checkInteger(atLeast, 0, Number.MAX_SAFE_INTEGER, `${at}: atLeast`);
  if (atMost !== undefined) checkInteger(atMost, 0, Number.MAX_SAFE_INTEGER, `${at}: atMost`);
  checkLimits(atLeast, atMost, at);
}
