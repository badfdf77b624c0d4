/** Depth pruning: whole layers dropped, least harmful first, until the budgets hold (Minitron, arXiv 2407.14679, sec. 2.2). */
import type { Choice, Problem } from './problem.ts';
import type { Scenario } from './scenario.ts';
import { verify } from './verify.ts';

/** The teacher without its least harmful layers, as many as it takes; or why there is no such choice. */
export function dropLayers({ blocks, teacher }: Scenario, problem: Problem): Choice | string {
  const layers = new Map<number, { groups: number[]; damage: number }>();
  const better = problem.objective.sense === 'minimise' ? 1 : -1;
  const dropped = problem.groups.map((_, g) =>
    blocks[g]!.findIndex(
      ({ attention, ffn }) =>
        (attention ?? ffn) !== undefined &&
        (attention ?? 'no-op') === 'no-op' &&
        (ffn ?? 'no-op') === 'no-op',
    ),
  );
  problem.groups.forEach(({ layer, alternatives }, g) => {
    const entry = layers.get(layer) ?? { groups: [], damage: 0 };
    const own = alternatives[teacher[g]!]!.score;
    entry.groups.push(g);
    entry.damage += better * ((alternatives[dropped[g]!]?.score ?? Number.NaN) - own);
    layers.set(layer, entry);
  });
  const order = [...layers.values()]
    .filter(({ damage }) => !Number.isNaN(damage))
    .sort((a, b) => a.damage - b.damage);
  const choice = [...teacher];
  if (verify(problem, choice).violations.length === 0) return choice;
  for (const { groups } of order) {
    for (const g of groups) choice[g] = dropped[g]!;
    if (verify(problem, choice).violations.length === 0) return choice;
  }
  return order.length === 0 ? 'no layer can be left out' : 'nothing fits even without those layers';
}
