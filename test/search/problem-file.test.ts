import * as fc from 'fast-check';
import { expect, test } from 'vitest';
import { readProblemFile, toProblemFile, type Constraint, type Scenario } from '../../src/search/index.ts';
import { smallScenario } from './small-scenarios.ts';

const budgets = [{ measure: 'memory', limit: 12.5 * 2 ** 30 }];
const withSamples = (scenario: Scenario): Scenario => ({
  ...scenario,
  samples: scenario.problem.groups.map(({ alternatives }) =>
    alternatives.map(({ score }) => Float64Array.from([score, score + 0.5])),
  ),
});
const roundTrip = (scenario: Scenario): unknown =>
  JSON.parse(JSON.stringify(toProblemFile(scenario, budgets)));

test('what is written reads back the same: costs, tags, teacher, samples, constraints, limits', () => {
  fc.assert(
    fc.property(smallScenario, fc.boolean(), (plain, sampled) => {
      const constraints: Constraint[] = [
        { kind: 'forbid', group: 0, alternative: 1 },
        { kind: 'count', tag: 'attention', atLeast: 1, layers: [0] },
        { kind: 'differ', from: plain.teacher, atLeast: 1, unit: 'layer' },
        { kind: 'equal', groups: [0] },
      ];
      const resources = plain.problem.resources.with(0, {
        ...plain.problem.resources[0]!,
        upper: 40 * 2 ** 30,
      });
      const limited = { ...plain, problem: { ...plain.problem, constraints, resources } };
      const scenario = sampled ? withSamples(limited) : limited;
      const read = readProblemFile(roundTrip(scenario), 'problem.json');
      expect(read.scenario).toEqual(scenario);
      expect(read.budgets).toEqual([
        { measure: 'memory', limit: { kind: 'absolute', value: budgets[0]!.limit } },
      ]);
    }),
    { numRuns: 50 },
  );
});

const sample = fc.sample(smallScenario, { numRuns: 1, seed: 7 })[0]!;
interface Loose {
  [key: string]: Loose & (string | number | Loose[]);
}
const damaged: readonly (readonly [what: string, damage: (file: Loose) => void, code: string, at: RegExp])[] =
  [
    ['another schema', (f) => Object.assign(f, { schema: 'puzzle/problem@2' }), 'file-invalid', /schema/],
    ['an unknown field', (f) => Object.assign(f, { extra: 1 }), 'file-invalid', /^p/],
    [
      'an unknown resource',
      (f) => Object.assign(f['measures']![0]!, { resource: 'disk' }),
      'file-invalid',
      /measures: 0: resource/,
    ],
    [
      'an unknown teacher',
      (f) => Object.assign(f['groups']![0]!, { teacher: 'nobody' }),
      'file-invalid',
      /teacher/,
    ],
    [
      'a score that is text',
      (f) => Object.assign(f['groups']![0]!['alternatives']![0]!, { score: '1' }),
      'file-invalid',
      /groups: 0: alternatives: 0: score/,
    ],
    [
      'a use too few',
      (f) => Object.assign(f['groups']![0]!['alternatives']![0]!, { uses: [1] }),
      'bad-problem',
      /layer 0/,
    ],
    [
      'contradictory limits',
      (f) => Object.assign(f['resources']![0]!, { lower: 2, upper: 1 }),
      'bad-problem',
      /memory/,
    ],
    [
      'samples of unequal number',
      (f) => Object.assign(f['groups']![0]!['alternatives']![1]!, { samples: [1] }),
      'file-invalid',
      /kv1|100|50/,
    ],
  ];

test.each(damaged)('%s is refused with its place', (_, damage, code, at) => {
  const file = roundTrip(withSamples(sample)) as Loose;
  damage(file);
  expect(() => readProblemFile(file, 'p')).toThrow(
    expect.objectContaining({ code, context: expect.objectContaining({ at: expect.stringMatching(at) }) }),
  );
});
