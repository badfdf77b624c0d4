/** Random search problems for the property tests, degenerate ones among them, and their solution by trying all. */

import * as fc from 'fast-check';
import { verify, type Choice, type Constraint, type Problem } from '../../src/search/index.ts';

/** Few distinct values make ties, zeros and equal sums; floats make none of these; scales stress tolerances. */
const number = fc.oneof(
  { weight: 3, arbitrary: fc.integer({ min: -3, max: 5 }) },
  { weight: 1, arbitrary: fc.constant(0) },
  { weight: 3, arbitrary: fc.double({ min: -1, max: 4, noNaN: true }) },
);
const scale = fc.constantFrom(1, 1, 1, 1e-9, 1e11, 2 ** 30);

interface Size {
  readonly groups: number;
  readonly alternatives: number;
  readonly resources: number;
}

/** Problems whose groups may share layers, with limits that often bind and sometimes cannot be kept. */
export function randomProblem(size: Size): fc.Arbitrary<Problem> {
  return fc
    .record({
      groups: fc.integer({ min: 1, max: size.groups }),
      resources: fc.integer({ min: 0, max: size.resources }),
      scoreScale: scale,
      twins: fc.boolean(),
    })
    .chain(({ groups, resources, scoreScale, twins }) => {
      const group = fc.array(
        fc.record({ score: number, uses: fc.array(number, { minLength: resources, maxLength: resources }) }),
        { minLength: 1, maxLength: size.alternatives },
      );
      return fc
        .record({
          // Twins: all layers alike, as a model's are in their costs.
          groups: twins
            ? group.map((one) => Array.from({ length: groups }, () => one))
            : fc.array(group, { minLength: groups, maxLength: groups }),
          limits: fc.array(
            fc.record({
              scale,
              fixed: fc.constantFrom(0, 0, 1.5),
              share: fc.double({ min: -0.1, max: 1.1, noNaN: true }),
              width: fc.option(fc.double({ min: 0, max: 0.5, noNaN: true })),
              kind: fc.constantFrom('upper', 'upper', 'upper', 'lower', 'both', 'none'),
            }),
            { minLength: resources, maxLength: resources },
          ),
          sense: fc.constantFrom('minimise' as const, 'maximise' as const),
        })
        .map(({ groups: rows, limits, sense }) => {
          const scaled = rows.map((row, g) => ({
            name: `g${g}`,
            layer: g >> 1,
            alternatives: row.map(({ score, uses }, a) => ({
              name: `a${a}`,
              score: score * scoreScale,
              uses: uses.map((use, r) => use * limits[r]!.scale),
              tags: a % 2 === 0 ? ['even'] : [],
            })),
          }));
          const all = limits.map((limit, r) => {
            const range = (pick: (...values: number[]) => number): number =>
              scaled.reduce(
                (sum, { alternatives }) => sum + pick(...alternatives.map(({ uses }) => uses[r]!)),
                0,
              );
            const [least, most] = [range(Math.min), range(Math.max)];
            const upper = limit.fixed + least + limit.share * (most - least);
            const lower = upper - (limit.width ?? 0.2) * (most - least);
            return {
              name: `r${r}`,
              fixed: limit.fixed,
              ...((limit.kind === 'upper' || limit.kind === 'both') && { upper }),
              ...((limit.kind === 'lower' || limit.kind === 'both') && { lower }),
            };
          });
          return {
            groups: scaled,
            resources: all,
            objective: { sense, metric: 'score', fixed: 0.25 * scoreScale },
            constraints: [],
          };
        });
    });
}

/** The problem with up to three constraints of all kinds. */
export function withConstraints(problem: Problem): fc.Arbitrary<Problem> {
  const group = fc.nat(problem.groups.length - 1);
  const groupAndAlternative = group.chain((g) =>
    fc.record({ group: fc.constant(g), alternative: fc.nat(problem.groups[g]!.alternatives.length - 1) }),
  );
  const from = fc.tuple(...problem.groups.map(({ alternatives }) => fc.nat(alternatives.length - 1)));
  const limits = fc
    .tuple(fc.option(fc.nat(3), { nil: undefined }), fc.option(fc.nat(3), { nil: undefined }))
    .map(([atLeast, more]) => ({
      ...(atLeast !== undefined && { atLeast }),
      ...(more !== undefined && { atMost: (atLeast ?? 0) + more }),
    }));
  const constraint: fc.Arbitrary<Constraint> = fc.oneof(
    groupAndAlternative.map((at) => ({ kind: 'forbid' as const, ...at })),
    groupAndAlternative.map((at) => ({ kind: 'force' as const, ...at })),
    fc
      .tuple(from, limits, fc.constantFrom('group' as const, 'layer' as const))
      .map(([choice, own, unit]) => ({ kind: 'differ' as const, from: choice, unit, ...own })),
    limits.map((own) => ({ kind: 'count' as const, tag: 'even', ...own })),
    limits.map((own) => ({ kind: 'count' as const, tag: 'even', layers: [0, 1], ...own })),
    fc.uniqueArray(group, { maxLength: 3 }).map((groups) => ({ kind: 'equal' as const, groups })),
  );
  return fc.array(constraint, { maxLength: 3 }).map((constraints) => ({ ...problem, constraints }));
}

/** Every choice there is. */
export function everyChoice({ groups }: Problem): Choice[] {
  return groups.reduce<number[][]>(
    (choices, { alternatives }) => choices.flatMap((choice) => alternatives.map((_, a) => [...choice, a])),
    [[]],
  );
}

/** The best value of the choices that keep the problem, undefined if none does. */
export function bestByTrying(problem: Problem): number | undefined {
  const values = everyChoice(problem)
    .map((choice) => verify(problem, choice))
    .filter(({ violations }) => violations.length === 0)
    .map(({ value }) => value);
  if (values.length === 0) return undefined;
  return problem.objective.sense === 'minimise' ? Math.min(...values) : Math.max(...values);
}

/** The greatest sum of absolute scores: what rounding of a value is relative to. */
export function magnitude({ groups, objective }: Problem): number {
  return groups.reduce(
    (sum, { alternatives }) => sum + Math.max(...alternatives.map(({ score }) => Math.abs(score))),
    Math.abs(objective.fixed ?? 0),
  );
}
