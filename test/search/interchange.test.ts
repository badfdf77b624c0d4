import { expect, test } from 'vitest';
import { readBlockLibrary, solve, underLimits, resolveBudgets } from '../../src/search/index.ts';
import { parseJson } from '../../src/util/json.ts';
import { bestValue } from './small-scenarios.ts';

const variant = (memory: number, runtime: number, params: number, kl: number, loss = 1 + kl) => ({
  stats: { memory_mib: memory, runtime_ms: runtime, num_params: params },
  metrics: { kl_div: kl, lm_loss: loss },
});
const both = 'attention = 8 kv heads (parent * 100%)\t&&\tffn = intermediate size 29e3 (parent * 100%)';
const noAttention = 'attention = no_op (parent * 0%)\t&&\tffn = intermediate size 29e3 (parent * 100%)';
const layer = (kl: number) => ({
  [both]: variant(1437, 816, 855e6, 0),
  [noAttention]: variant(672, 463, 704e6, kl),
});
const library = { layer_1: layer(0.5), layer_0: layer(0.25), layer_10: layer(0.125) };

test('a library is a group per layer, in the order of the numbers, with all that is known of a variant', () => {
  const scenario = readBlockLibrary(library, 'lib.json', { metric: 'kl_div', tokens: 64 * 1200 });
  expect(scenario.problem.groups.map(({ name, layer }) => [name, layer])).toEqual([
    ['layer_0', 0],
    ['layer_1', 1],
    ['layer_10', 10],
  ]);
  expect(scenario.problem.groups[1]!.alternatives[1]).toEqual({
    name: noAttention,
    score: 0.5,
    uses: [672 * 2 ** 20, 463, 704e6],
    tags: ['attention:no-op', 'ffn', 'ffn:intermediate size 29e3'],
  });
  expect(scenario.blocks[0]![1]).toEqual({ attention: 'no-op', ffn: 'intermediate size 29e3' });
  expect(scenario.teacher).toEqual([0, 0, 0]);
  expect(scenario.teacherChosenBy).toBe('the variant with kl_div 0 in 3 layers');
  expect(scenario.measures.map(({ name }) => name)).toEqual([
    'memory',
    'latency',
    'parameters',
    'throughput',
  ]);
});

test('throughput bounds the sum of runtimes', async () => {
  const scenario = readBlockLibrary(library, 'lib.json', { metric: 'kl_div', tokens: 64 * 1200 });
  const rate = (64 * 1200 * 1000) / (816 + 463 + 463);
  const limits = resolveBudgets(scenario, [
    { measure: 'throughput', limit: { kind: 'absolute', value: rate * 0.999999 } },
  ]);
  const solution = await solve(underLimits(scenario, limits));
  expect(solution.value).toBe(0.375);
  expect(solution.totals[1]).toBeCloseTo(816 + 2 * 463, 9);
});

test('other metrics, other names and a library without KL work; the teacher is then the most expensive', async () => {
  const plain = {
    block_0: {
      small: { stats: { memory_mib: 1 }, metrics: { accuracy: 0.2 } },
      big: { stats: { memory_mib: 3 }, metrics: { accuracy: 0.9 } },
    },
    block_1: {
      small: { stats: { memory_mib: 1 }, metrics: { accuracy: 0.6 } },
      big: { stats: { memory_mib: 3 }, metrics: { accuracy: 0.7 } },
    },
  };
  const scenario = readBlockLibrary(plain, 'lib.json', { metric: 'accuracy', sense: 'maximise' });
  expect(scenario.teacher).toEqual([1, 1]);
  expect(scenario.teacherChosenBy).toBe('the most expensive variant in 2 layers');
  expect(scenario.measures.map(({ name }) => name)).toEqual(['memory']);
  const problem = underLimits(
    scenario,
    resolveBudgets(scenario, [{ measure: 'memory', limit: { kind: 'relative', factor: 0.7 } }]),
  );
  const solution = await solve(problem);
  expect(solution.value).toBeCloseTo(1.5, 12);
  expect(solution.value).toBe(bestValue(problem));
});

const broken: readonly (readonly [what: string, library: unknown, at: string])[] = [
  ['no layers', {}, 'f'],
  ['an empty layer', { layer_0: {} }, 'f: layer_0'],
  ['a list', [], 'f'],
  ['a layer without a number', { first: layer(1) }, 'f: first'],
  ['the same layer under two names', { layer_1: layer(1), layer_01: layer(1) }, 'f: layer_01'],
  [
    'a missing metric',
    {
      layer_0: {
        a: variant(1, 1, 1, 0),
        b: { stats: { memory_mib: 1, runtime_ms: 1, num_params: 1 }, metrics: { lm_loss: 1 } },
      },
    },
    'f: layer_0: b: metrics: kl_div',
  ],
  [
    'a metric that is null',
    { layer_0: { a: { ...variant(1, 1, 1, 0), metrics: { kl_div: null } } } },
    'f: layer_0: a: metrics: kl_div',
  ],
  ['a metric that is NaN', { layer_0: { a: variant(1, 1, 1, NaN) } }, 'f: layer_0: a: metrics: kl_div'],
  [
    'a metric that is text',
    { layer_0: { a: { ...variant(1, 1, 1, 0), metrics: { kl_div: '0.5' } } } },
    'f: layer_0: a: metrics: kl_div',
  ],
  ['infinite memory', { layer_0: { a: variant(Infinity, 1, 1, 0) } }, 'f: layer_0: a: stats: memory_mib'],
  ['negative runtime', { layer_0: { a: variant(1, -1, 1, 0) } }, 'f: layer_0: a: stats: runtime_ms'],
  ['absurdly much memory', { layer_0: { a: variant(1e300, 1, 1, 0) } }, 'f: layer_0: a: stats: memory_mib'],
  [
    'a cost that only some have',
    {
      layer_0: {
        a: variant(1, 1, 1, 0),
        b: { stats: { memory_mib: 1, num_params: 1 }, metrics: { kl_div: 1 } },
      },
    },
    'f: layer_0: b: stats: runtime_ms',
  ],
  ['a variant with unknown parts', { layer_0: { a: { ...variant(1, 1, 1, 0), more: 1 } } }, 'f: layer_0: a'],
  ['a variant without stats', { layer_0: { a: { metrics: { kl_div: 0 } } } }, 'f: layer_0: a: stats'],
];

test.each(broken)('%s: refused, naming the place', (_, content, at) => {
  expect(() => readBlockLibrary(content, 'f', { metric: 'kl_div' })).toThrow(
    expect.objectContaining({ code: 'file-invalid', context: expect.objectContaining({ at }) }),
  );
});

test('a duplicate layer in the text and an unknown metric are refused', () => {
  expect(() => parseJson('{"layer_0": {}, "layer_0": {}}', 'f')).toThrow(/layer_0/);
  expect(() => readBlockLibrary(library, 'f', { metric: 'mmlu' })).toThrow(
    expect.objectContaining({
      code: 'bad-usage',
      context: expect.objectContaining({ details: { known: ['kl_div', 'lm_loss'] } }),
    }),
  );
});
