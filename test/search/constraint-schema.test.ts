import * as fc from 'fast-check';
import { expect, test } from 'vitest';
import { parse } from 'yaml';
import {
  constraintsSchema,
  translateConstraints,
  type Choice,
  type Scenario,
  type WrittenConstraint,
} from '../../src/search/index.ts';
import { everyChoice, everyFit, smallScenario } from './small-scenarios.ts';

/** What a choice has in a layer's slot, whether pairs or slots are chosen. */
function labelsOf({ problem, blocks }: Scenario, choice: Choice, slot: 'attention' | 'ffn'): string[] {
  return problem.groups.flatMap((_, g) => blocks[g]![choice[g]!]![slot] ?? []);
}

const real = (label: string): boolean => label !== 'no-op' && label !== 'linear';

/** Each constraint as written, with what it means for a choice in words of its own. */
const meanings: readonly {
  readonly yaml: string;
  readonly holds: (scenario: Scenario, choice: Choice) => boolean;
}[] = [
  {
    yaml: '{ forbid: no-op, slot: attention }',
    holds: (s, c) => !labelsOf(s, c, 'attention').includes('no-op'),
  },
  {
    yaml: '{ forbid: no-op, layers: [0..0] }',
    holds: (s, c) => labelsOf(s, c, 'attention')[0] !== 'no-op' && labelsOf(s, c, 'ffn')[0] !== 'no-op',
  },
  { yaml: '{ forbid: 50 }', holds: (s, c) => !labelsOf(s, c, 'ffn').includes('50') },
  {
    yaml: '{ force: teacher, layers: [0] }',
    holds: (s, c) => labelsOf(s, c, 'attention')[0] === 'kv4' && labelsOf(s, c, 'ffn')[0] === '100',
  },
  {
    yaml: '{ force: teacher, slot: ffn }',
    holds: (s, c) => labelsOf(s, c, 'ffn').every((label) => label === '100'),
  },
  {
    yaml: '{ force: kv1, slot: attention }',
    holds: (s, c) => labelsOf(s, c, 'attention').every((label) => label === 'kv1'),
  },
  {
    yaml: '{ equal: layer }',
    holds: (s, c) =>
      new Set(labelsOf(s, c, 'attention')).size === 1 && new Set(labelsOf(s, c, 'ffn')).size === 1,
  },
  { yaml: '{ count: attention, atLeast: 1 }', holds: (s, c) => labelsOf(s, c, 'attention').some(real) },
  {
    yaml: '{ count: "ffn:no-op", atMost: 1 }',
    holds: (s, c) => labelsOf(s, c, 'ffn').filter((label) => label === 'no-op').length <= 1,
  },
  {
    yaml: '{ count: attention, atMost: 0, layers: [0] }',
    holds: (s, c) => !real(labelsOf(s, c, 'attention')[0]!),
  },
];

const written = (yaml: string): WrittenConstraint[] => constraintsSchema.parse(parse(`[${yaml}]`));

test.each(meanings)('$yaml allows exactly the choices it speaks of', ({ yaml, holds }) => {
  fc.assert(
    fc.property(smallScenario, (scenario) => {
      const constraints = translateConstraints(written(yaml), scenario, 'f');
      const problem = { ...scenario.problem, constraints };
      const allowed = everyFit(problem).map(({ choice }) => choice.join());
      const meant = everyChoice(problem).filter((choice) => holds(scenario, choice));
      expect(allowed.toSorted()).toEqual(meant.map((choice) => choice.join()).toSorted());
    }),
    { numRuns: 6 },
  );
});

test('differFrom names a solution and counts layers', () => {
  fc.assert(
    fc.property(smallScenario, (scenario) => {
      const { groups } = scenario.problem;
      const differFrom = groups.map(({ alternatives }) => alternatives[0]!.name);
      const [constraint] = translateConstraints([{ differFrom, atLeast: 1 }], scenario, 'f');
      expect(constraint).toEqual({ kind: 'differ', from: groups.map(() => 0), unit: 'layer', atLeast: 1 });
    }),
    { numRuns: 5 },
  );
});

const byKind = (apart: boolean): Scenario =>
  fc.sample(
    smallScenario.filter(({ blocks }) => (blocks[0]![0]!.ffn === undefined) === apart),
    { numRuns: 1, seed: 3 },
  )[0]!;

test.each([
  ['{ forbid: kv9 }', true, /kv9/],
  ['{ forbid: kv1, slot: ffn }', true, /ffn/],
  ['{ force: teacher, layers: [99] }', true, /layer 99/],
  ['{ force: teacher, layers: ["5..2"] }', true, /layer/],
  ['{ count: mamba, atLeast: 1 }', true, /mamba/],
  ['{ count: attention }', true, /neither/],
  ['{ count: attention, atLeast: 3, atMost: 1 }', true, /contradict/],
  ['{ equal: ffn }', false, /pairs/],
  ['{ force: kv1, slot: attention }, { forbid: kv1, slot: attention }', true, /nothing to choose/],
  ['{ differFrom: [teacher], atLeast: 1 }', false, /teacher|names/],
])('%s is refused', (yaml, apart, message) => {
  expect(() => translateConstraints(written(yaml), byKind(apart), 'f')).toThrow(message);
  expect(() => translateConstraints(written(yaml), byKind(apart), 'f')).toThrow(
    expect.objectContaining({ code: 'bad-problem' }),
  );
});

test.each([
  '{ forbid: no-op, where: ffn }',
  '{ forbid: [a] }',
  '{ count: attention, atLeast: -1 }',
  '{ forbid: x, layers: ["a..b"] }',
  'forbid',
])('%s does not fit the schema', (yaml) => {
  expect(constraintsSchema.safeParse(parse(`[${yaml}]`)).success).toBe(false);
});
