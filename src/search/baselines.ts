/** What simpler methods would choose under the same budgets: the comparison that search has to win. */
import { seededRandom, type Random } from '../util/random.ts';
import { dropLayers } from './depth.ts';
import { minimiseResource } from './exchange-objective.ts';
import type { Choice, Problem, SolveOptions } from './problem.ts';
import { findMeasure, totalsOf, underLimits, type Limit, type Scenario } from './scenario.ts';
import { solve } from './solve.ts';
import { verify } from './verify.ts';

type BaselineName = 'greedy' | 'max-parameters' | 'no-op only' | 'depth' | 'uniform' | 'random';

export interface Baseline {
  readonly name: BaselineName;
  /** Undefined where the method finds nothing that fits; then `reason` says why. */
  readonly choice: Choice | undefined;
  readonly reason?: string;
  /** Rechecked from the problem. */
  readonly value: number;
  readonly totals: readonly number[];
}

interface BaselineOptions extends SolveOptions {
  readonly seed?: number;
  /** Random architectures, of which the one with the median score stands for all; 101 if absent. */
  readonly draws?: number;
}

type Method = (scenario: Scenario, problem: Problem, options: BaselineOptions) => Promise<Choice | string>;

/** In the order in which a table shows them. A method gives a choice, or why it has none. */
const methods: Readonly<Record<BaselineName, Method>> = {
  greedy: (_, problem) => Promise.resolve(greedy(problem)),
  'max-parameters': maxParameters,
  'no-op only': noOpOnly,
  depth: (scenario, problem) => Promise.resolve(dropLayers(scenario, problem)),
  uniform: (_, problem) => Promise.resolve(uniformChoice(problem)),
  random: (_, problem, options) => Promise.resolve(medianRandom(problem, options)),
};

/** Every baseline under the budgets, each rechecked; what breaks a limit or constraint counts as not found. */
export async function compareBaselines(
  scenario: Scenario,
  limits: readonly Limit[],
  options: BaselineOptions = {},
): Promise<Baseline[]> {
  const problem = underLimits(scenario, limits);
  const baselines: Baseline[] = [];
  for (const [name, method] of Object.entries(methods) as [BaselineName, Method][]) {
    const found = await method(scenario, problem, options);
    if (typeof found === 'string') {
      baselines.push({ name, choice: undefined, reason: found, value: NaN, totals: [] });
      continue;
    }
    const { value, totals, violations } = verify(problem, found);
    const fits = violations.length === 0;
    baselines.push({
      name,
      choice: fits ? found : undefined,
      ...(!fits && { reason: violations.join('; ') }),
      value,
      totals,
    });
  }
  return baselines;
}

/** The alternatives of one layer's groups together; a layer whose groups have m and n alternatives has m x n. */
interface LayerOption {
  readonly choices: readonly (readonly [group: number, alternative: number])[];
  readonly score: number;
  readonly uses: readonly number[];
}

/**
 * The paper's greedy (arXiv 2411.19146, appendix): each budget is split evenly over the layers; layers are visited in
 * ascending mean score, each takes the best-scored block that fits its share, and what it leaves is carried to the
 * next. Where nothing fits, it takes the block that overdraws least, and the next layers have less.
 */
export function greedy(problem: Problem): Choice | string {
  const layers = layerOptions(problem);
  const better = problem.objective.sense === 'minimise' ? 1 : -1;
  const order = layers.toSorted((a, b) => better * (meanScore(a) - meanScore(b)));
  const shares = problem.resources.map(({ fixed, upper = Infinity }) => (upper - fixed) / layers.length);
  const left = shares.map(() => 0);
  const choice: number[] = Array.from({ length: problem.groups.length }, () => 0);
  for (const options of order) {
    shares.forEach((share, r) => (left[r]! += share));
    const overdraft = ({ uses }: LayerOption): number =>
      Math.max(
        0,
        ...uses.map((use, r) => (use <= left[r]! ? 0 : (use - left[r]!) / Math.abs(shares[r]! || 1))),
      );
    const fitting = options.filter((option) => overdraft(option) === 0);
    const pick =
      fitting.length > 0
        ? fitting.reduce((best, option) => (better * (option.score - best.score) < 0 ? option : best))
        : options.reduce((best, option) => (overdraft(option) < overdraft(best) ? option : best));
    pick.uses.forEach((use, r) => (left[r]! -= use));
    for (const [group, alternative] of pick.choices) choice[group] = alternative;
  }
  return choice;
}

const meanScore = (options: readonly LayerOption[]): number =>
  options.reduce((sum, { score }) => sum + score, 0) / options.length;

function layerOptions(problem: Problem): LayerOption[][] {
  return groupsAlike(problem, (g) => problem.groups[g]!.layer).map((own) =>
    own.reduce<LayerOption[]>(
      (partial, group) =>
        partial.flatMap(({ choices, score, uses }) =>
          allowed(problem, group).map((alternative) => {
            const added = problem.groups[group]!.alternatives[alternative]!;
            return {
              choices: [...choices, [group, alternative]],
              score: score + added.score,
              uses: uses.map((use, r) => use + added.uses[r]!),
            };
          }),
        ),
      [{ choices: [], score: 0, uses: problem.resources.map(() => 0) }],
    ),
  );
}

/** Positions of groups with the same key together, in order of first appearance. */
function groupsAlike({ groups }: Problem, key: (group: number) => string | number): number[][] {
  const byKey = new Map<string | number, number[]>();
  for (const g of groups.keys()) byKey.set(key(g), [...(byKey.get(key(g)) ?? []), g]);
  return [...byKey.values()];
}

/** Alternatives of a group that no constraint forbids. */
function allowed({ groups, constraints }: Problem, group: number): number[] {
  return [...groups[group]!.alternatives.keys()].filter((a) =>
    constraints.every(
      (constraint) =>
        (constraint.kind !== 'forbid' && constraint.kind !== 'force') ||
        constraint.group !== group ||
        (constraint.kind === 'force') === (constraint.alternative === a),
    ),
  );
}

/** As many parameters as the budgets allow, whatever the damage. */
async function maxParameters(
  scenario: Scenario,
  problem: Problem,
  options: SolveOptions,
): Promise<Choice | string> {
  if (!scenario.measures.some(({ name }) => name === 'parameters')) return 'the parameters are not known';
  const { resource } = findMeasure(scenario, 'parameters');
  const { choice } = await solve(minimiseResource(negated(problem, resource), resource), options);
  return choice.length > 0 ? choice : 'nothing fits';
}

/** The same problem with a resource counted down instead of up; its limits change places. */
function negated(problem: Problem, resource: number): Problem {
  return {
    ...problem,
    resources: problem.resources.map((own, r) => {
      if (r !== resource) return own;
      const { name, fixed, lower, upper } = own;
      return {
        name,
        fixed: -fixed,
        ...(upper !== undefined && { lower: -upper }),
        ...(lower !== undefined && { upper: -lower }),
      };
    }),
    groups: problem.groups.map((group) => ({
      ...group,
      alternatives: group.alternatives.map((alternative) => ({
        ...alternative,
        uses: alternative.uses.with(resource, -alternative.uses[resource]!),
      })),
    })),
  };
}

/** Blocks are kept or left out, nothing between; which to leave out is still searched. */
async function noOpOnly(
  { blocks, teacher }: Scenario,
  problem: Problem,
  options: SolveOptions,
): Promise<Choice | string> {
  const forbidden = problem.groups.flatMap(({ alternatives }, g) => {
    const own = blocks[g]![teacher[g]!]!;
    return alternatives.flatMap((_, a) => {
      const { attention, ffn } = blocks[g]![a]!;
      const keptOrLeftOut =
        a === teacher[g] ||
        ((attention ?? ffn) !== undefined &&
          (attention === 'no-op' || attention === own.attention) &&
          (ffn === 'no-op' || ffn === own.ffn));
      return keptOrLeftOut ? [] : [{ kind: 'forbid' as const, group: g, alternative: a }];
    });
  });
  const { choice } = await solve(
    { ...problem, constraints: [...problem.constraints, ...forbidden] },
    options,
  );
  return choice.length > 0 ? choice : 'nothing fits';
}

/** One choice for all layers (one per slot where slots are apart), the best of all such: every combination is tried. */
export function uniformChoice(problem: Problem): Choice | string {
  const kinds = groupsAlike(problem, (g) => namesOf(problem, g));
  const better = problem.objective.sense === 'minimise' ? 1 : -1;
  let best: { readonly choice: Choice; readonly value: number } | undefined;
  const first = kinds.map((groups) => problem.groups[groups[0]!]!.alternatives.map(({ name }) => name));
  for (const names of cartesian(first)) {
    const wanted = new Map(kinds.flatMap((groups, k) => groups.map((g) => [g, names[k]!] as const)));
    const choice = problem.groups.map(({ alternatives }, g) =>
      alternatives.findIndex(({ name }) => name === wanted.get(g)),
    );
    const { value, violations } = verify(problem, choice);
    if (violations.length === 0 && (best === undefined || better * (value - best.value) < 0))
      best = { choice, value };
  }
  return best?.choice ?? 'no uniform architecture fits';
}

/** Groups whose alternatives have the same names are one kind of slot. */
const namesOf = ({ groups }: Problem, g: number): string =>
  groups[g]!.alternatives.map(({ name }) => name)
    .sort()
    .join('\n');

/** Kinds of slots beyond which the combinations are too many to try: never met in a model. */
const mostCombinations = 100_000;

function cartesian(lists: readonly (readonly string[])[]): string[][] {
  const size = lists.reduce((product, list) => product * list.length, 1);
  if (size > mostCombinations) return [];
  return lists.reduce<string[][]>(
    (partial, list) => partial.flatMap((head) => list.map((item) => [...head, item])),
    [[]],
  );
}

/** Tries a draw gives up after; then the budgets are so tight that random architectures practically never fit. */
const triesPerDraw = 50;

/** Random architectures that fit, groups filled in random order; the one of median score. */
function medianRandom(problem: Problem, { seed = 0, draws = 101 }: BaselineOptions): Choice | string {
  const found = randomChoices(problem, draws, seed);
  if (found.length === 0) return `none of ${draws * triesPerDraw} random draws fits`;
  const sorted = found
    .map((choice) => ({ choice, value: verify(problem, choice).value }))
    .toSorted((a, b) => a.value - b.value);
  return sorted[Math.floor((sorted.length - 1) / 2)]!.choice;
}

/** Up to `count` random architectures that fit the problem's limits; fewer where draws fail too often. */
export function randomChoices(problem: Problem, count: number, seed: number): readonly Choice[] {
  const random = seededRandom(seed);
  const draw = (): Choice | undefined => {
    for (let attempt = 0; attempt < triesPerDraw; attempt++) {
      const drawn = randomFitting(problem, random);
      const choice = drawn && filled(problem, drawn, random);
      if (choice !== undefined && verify(problem, choice).violations.length === 0) return choice;
    }
    return undefined;
  };
  return Array.from({ length: count }, draw).filter((choice) => choice !== undefined);
}

/** Spends what a draw left of the budgets: in random order, each group takes the largest alternative that still fits. */
function filled(problem: Problem, drawn: Choice, random: Random): Choice {
  const { groups, resources } = problem;
  const bounded = resources.flatMap(({ upper }, r) => (upper === undefined || upper === Infinity ? [] : [r]));
  if (bounded.length === 0) return drawn;
  const choice = [...drawn];
  const left = totalsOf(problem, drawn).map((total, r) => (resources[r]!.upper ?? Infinity) - total);
  for (const g of random.shuffle([...groups.keys()])) {
    const { alternatives } = groups[g]!;
    const extra = (a: number, r: number): number =>
      alternatives[a]!.uses[r]! - alternatives[choice[g]!]!.uses[r]!;
    const size = (a: number): number =>
      bounded.reduce((sum, r) => sum + alternatives[a]!.uses[r]! / Math.abs(resources[r]!.upper! || 1), 0);
    const fitting = allowed(problem, g).filter((a) => bounded.every((r) => extra(a, r) <= left[r]!));
    const largest = fitting.reduce((best, a) => (size(a) > size(best) ? a : best), choice[g]!);
    bounded.forEach((r) => (left[r]! -= extra(largest, r)));
    choice[g] = largest;
  }
  return choice;
}

/** Draws each group among the alternatives that leave enough for the cheapest of the groups still open. */
function randomFitting(problem: Problem, random: Random): Choice | undefined {
  const { groups, resources } = problem;
  const open = groups.map((_, g) => allowed(problem, g));
  const cheapest = groups.map(({ alternatives }, g) =>
    resources.map((_, r) => Math.min(...open[g]!.map((a) => alternatives[a]!.uses[r]!))),
  );
  const spent = resources.map(({ fixed }, r) => cheapest.reduce((sum, uses) => sum + uses[r]!, fixed));
  const choice: number[] = Array.from({ length: groups.length }, () => 0);
  for (const g of random.shuffle([...groups.keys()])) {
    const { alternatives } = groups[g]!;
    const after = (a: number): number[] =>
      spent.map((s, r) => s - cheapest[g]![r]! + alternatives[a]!.uses[r]!);
    const fitting = open[g]!.filter((a) => after(a).every((s, r) => s <= (resources[r]!.upper ?? Infinity)));
    if (fitting.length === 0) return undefined;
    const pick = fitting[random.integer(fitting.length)]!;
    spent.splice(0, spent.length, ...after(pick));
    choice[g] = pick;
  }
  return choice;
}
