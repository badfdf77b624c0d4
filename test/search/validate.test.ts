import { expect, test } from 'vitest';
import { solve, validate, type Problem } from '../../src/search/index.ts';

const problem: Problem = {
  groups: [0, 1].map((layer) => ({
    name: `layer_${layer}`,
    layer,
    alternatives: [
      { name: 'wide', score: 0, uses: [2] },
      { name: 'narrow', score: 1, uses: [1] },
    ],
  })),
  resources: [{ name: 'memory', fixed: 0, upper: 3 }],
  objective: { sense: 'minimise', metric: 'kl_div' },
  constraints: [],
};
const [first, second] = problem.groups as [Problem['groups'][number], Problem['groups'][number]];
const [wide] = first.alternatives as [Problem['groups'][number]['alternatives'][number]];

const withFirst = (group: Partial<typeof first>): Problem => ({
  ...problem,
  groups: [{ ...first, ...group }, second],
});

test.each<[string, Problem, RegExp]>([
  ['no groups', { ...problem, groups: [] }, /groups/],
  ['an empty group', withFirst({ alternatives: [] }), /layer_0/],
  ['a duplicate layer', withFirst({ name: 'layer_1' }), /"layer_1" occurs twice/],
  ['a duplicate alternative', withFirst({ alternatives: [wide, wide] }), /layer_0.*"wide" occurs twice/],
  [
    'a score that is no number',
    withFirst({ alternatives: [{ ...wide, score: NaN }] }),
    /layer_0: wide: score/,
  ],
  ['an endless cost', withFirst({ alternatives: [{ ...wide, uses: [Infinity] }] }), /layer_0: wide: memory/],
  ['an absurd number', withFirst({ alternatives: [{ ...wide, uses: [1e101] }] }), /layer_0: wide: memory/],
  ['a cost missing', withFirst({ alternatives: [{ ...wide, uses: [] }] }), /0 uses for 1 resources/],
  ['a layer that is no index', withFirst({ layer: 0.5 }), /layer_0: layer/],
  [
    'contradictory limits',
    { ...problem, resources: [{ name: 'memory', fixed: 0, lower: 4, upper: 3 }] },
    /resource memory.*above the upper limit/,
  ],
  [
    'contradictory counts',
    { ...problem, constraints: [{ kind: 'count', tag: 'attention', atLeast: 2, atMost: 1 }] },
    /constraints\[0\] \(count\)/,
  ],
  [
    'an alternative that is not there',
    { ...problem, constraints: [{ kind: 'force', group: 0, alternative: 2 }] },
    /constraints\[0\] \(force\)/,
  ],
  [
    'a choice of the wrong length',
    { ...problem, constraints: [{ kind: 'differ', from: [0] }] },
    /1 choices for 2 groups/,
  ],
  [
    'more resources than anyone has',
    { ...problem, resources: Array.from({ length: 65 }, (_, r) => ({ name: `r${r}`, fixed: 0 })) },
    /resources: more than 64/,
  ],
])('%s is refused, naming the place', async (_, bad, message) => {
  expect(() => validate(bad)).toThrow(message);
  await expect(solve(bad)).rejects.toMatchObject({ code: 'bad-problem', exitCode: 2 });
});

test('a sound problem passes', () => {
  expect(() => validate(problem)).not.toThrow();
});
