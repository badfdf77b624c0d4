/** Score and resource change places: "the cheapest memory for KL <= 0.1" is a search problem too. */
import type { Problem, Solution, SolveOptions } from './problem.ts';
import { solve } from './solve.ts';

/**
 * The problem whose objective is a resource's total, to be minimised; the score takes the resource's place among the
 * resources, limited where `scoreLimit` is given. The resource's own limits stay, as a resource at the end.
 */
export function minimiseResource(problem: Problem, resource: number, scoreLimit?: number): Problem {
  const { groups, resources, objective } = problem;
  const own = resources[resource]!;
  const limited = own.lower !== undefined || own.upper !== undefined;
  const score = {
    name: objective.metric,
    fixed: objective.fixed ?? 0,
    ...(scoreLimit !== undefined && { [objective.sense === 'minimise' ? 'upper' : 'lower']: scoreLimit }),
  };
  return {
    ...problem,
    objective: { sense: 'minimise', metric: own.name, fixed: own.fixed },
    resources: [
      ...resources.with(resource, score),
      ...(limited ? [{ ...own, name: `${own.name} limit` }] : []),
    ],
    groups: groups.map((group) => ({
      ...group,
      alternatives: group.alternatives.map((alternative) => {
        const { score, uses } = alternative;
        const use = uses[resource]!;
        return {
          ...alternative,
          score: use,
          uses: [...uses.with(resource, score), ...(limited ? [use] : [])],
        };
      }),
    })),
  };
}

/**
 * The least total of a resource for which the score is at least as good as `scoreLimit`, and of all choices with that
 * total the one with the best score.
 *
 * @returns a solution of the given problem; its status and bound are those of the resource's minimum.
 */
export async function cheapest(
  problem: Problem,
  resource: number,
  scoreLimit: number,
  options: SolveOptions = {},
): Promise<{ readonly least: Solution; readonly best: Solution }> {
  const least = await solve(minimiseResource(problem, resource, scoreLimit), options);
  if (least.choice.length === 0) return { least, best: least };
  const best = await solve(withUpper(problem, resource, least.value), {
    ...options,
    warmStart: least.choice,
  });
  return { least, best };
}

/** The problem with another upper limit of one resource; `undefined` takes the limit away. */
export function withUpper(problem: Problem, resource: number, upper: number | undefined): Problem {
  return {
    ...problem,
    resources: problem.resources.map((own, r) => {
      if (r !== resource) return own;
      const { upper: _, ...rest } = own;
      return upper === undefined ? rest : { ...rest, upper };
    }),
  };
}
