import { expect, test } from 'vitest';
import { alternativesOf, bundledSpaces, loadSpace, parseSpace } from '../../src/blocks/index.ts';
import { blockOf } from '../../src/blocks/registry.ts';
import type { Architecture, BlockConfig } from '../../src/model/architecture.ts';
import { PuzzleError } from '../../src/util/errors.ts';
import { uniformArchitecture } from './architectures.ts';

const smol: Architecture = uniformArchitecture({
  layers: 4,
  hidden: 576,
  attention: { kind: 'gqa', heads: 9, kvHeads: 3, headDim: 64 },
  ffn: { kind: 'swiglu', width: 1536 },
});

const labels = (groups: readonly (readonly BlockConfig[])[], teacher?: Architecture): string[][] =>
  groups.map((group, slot) =>
    group.map((config) => blockOf(config).label(config, teacher?.slots[slot]?.block)),
  );

const refusal = (run: () => unknown): PuzzleError => {
  try {
    run();
  } catch (error) {
    if (error instanceof PuzzleError) return error;
    throw error;
  }
  throw new Error('nothing was refused');
};

test('every bundled space is valid and fits the models it is for', async () => {
  expect(await bundledSpaces()).toEqual(
    expect.arrayContaining(['default', 'fine', 'smollm2-135m', 'smollm2-135m-fine']),
  );
  for (const name of await bundledSpaces()) {
    const groups = alternativesOf(await loadSpace(name), smol);
    for (const group of groups) expect(group.length).toBeGreaterThan(name.includes('fine') ? 19 : 2);
  }
});

test('the fine space of SmolLM2-135M: every head count, every 64 channels, names that differ', async () => {
  const groups = alternativesOf(await loadSpace('smollm2-135m-fine'), smol);
  const ranks = (sizes: readonly number[]): string[] => sizes.map((rank) => `rank${rank}`);
  const heads = ['h6-kv3', 'h3-kv3', 'h6-kv2', 'h4-kv2', 'h2-kv2', 'h3-kv1', 'h2-kv1', 'h1-kv1'];
  expect(labels(groups, smol).slice(0, 2)).toEqual([
    ['kv3', ...heads, 'kv1', 'linear', ...ranks([384, 320, 256, 192, 128, 96, 64, 32]), 'no-op'],
    [
      ...Array.from({ length: 24 }, (_, i) => String(1536 - 64 * i)),
      'linear',
      ...ranks([384, 256, 192, 128, 64]),
      'no-op',
    ],
  ]);
});

test('sizes may be shares, lists, or every multiple', () => {
  const space = parseSpace(
    `attention: [teacher, { heads: divisors }, { queryHeads: 4, kvHeads: 2 }, { lowRank: 0.25 }]
ffn: [{ swiglu: { every: 0.25 } }, { swiglu: [500, 0.5] }, { lowRank: { every: 200 } }]`,
    'own.yaml',
  );
  expect(labels(alternativesOf(space, smol), smol).slice(0, 2)).toEqual([
    ['kv3', 'h3-kv3', 'h3-kv1', 'h1-kv1', 'h4-kv2', 'rank144'],
    ['1152', '768', '384', '500', 'rank400', 'rank200'],
  ]);
});

test('the default space: shares of the width, every divisor of the KV heads', async () => {
  const space = await loadSpace('default');
  expect(labels(alternativesOf(space, smol)).slice(0, 2)).toEqual([
    ['kv3', 'kv1', 'linear', 'no-op'],
    ['1536', '1152', '768', '384', '192', 'linear', 'no-op'],
  ]);
  const llama8b = uniformArchitecture({
    layers: 1,
    hidden: 4096,
    attention: { kind: 'gqa', heads: 32, kvHeads: 8, headDim: 128 },
    ffn: { kind: 'swiglu', width: 14336 },
  });
  expect(labels(alternativesOf(space, llama8b))[0]).toEqual(['kv8', 'kv4', 'kv2', 'kv1', 'linear', 'no-op']);
});

test('small models: shares that round to one width appear once', async () => {
  const tiny = uniformArchitecture({
    layers: 1,
    hidden: 32,
    attention: { kind: 'gqa', heads: 4, kvHeads: 1, headDim: 8 },
    ffn: { kind: 'swiglu', width: 128 },
  });
  // 96 rounds to 128, the teacher itself; 64, 32 and 16 all become 64
  expect(labels(alternativesOf(await loadSpace('default'), tiny))).toEqual([
    ['kv1', 'linear', 'no-op'],
    ['128', '64', 'linear', 'no-op'],
  ]);
});

test('layers may have alternatives of their own, counted from either end', () => {
  const space = parseSpace(
    `attention: [teacher, no-op]
ffn: [teacher, linear]
overrides:
  - { layers: [0..1], ffn: [teacher] }
  - { layers: [-1], attention: [teacher], ffn: [no-op, { swiglu: 64 }] }`,
    'own.yaml',
  );
  expect(labels(alternativesOf(space, smol))).toEqual([
    ['kv3', 'no-op'],
    ['1536'],
    ['kv3', 'no-op'],
    ['1536'],
    ['kv3', 'no-op'],
    ['1536', 'linear'],
    ['kv3'],
    ['no-op', '64'],
  ]);
});

test('a heterogeneous teacher: an alternative is left out where a slot cannot hold it', () => {
  const [attention, ffn, ...rest] = smol.slots;
  const mixed = {
    ...smol,
    slots: [attention!, { ...ffn!, block: { kind: 'swiglu', width: 256 } }, ...rest.slice(0, -1)],
  };
  mixed.slots.push({ ...rest.at(-1)!, block: { kind: 'no-op' } });
  const space = parseSpace(
    'attention: [teacher]\nffn: [teacher, { swiglu: 768 }, { swiglu: 0.5 }, no-op]',
    's.yaml',
  );
  const groups = labels(alternativesOf(space, mixed));
  expect(groups[1]).toEqual(['256', '128', 'no-op']);
  expect(groups[3]).toEqual(['1536', '768', 'no-op']);
  expect(groups.at(-1)).toEqual(['no-op']);
});

test.each([
  ['ffn: [teacher, { swiglu: 2048 }]', 'ffn: 1', { swiglu: 2048 }, /only 1536 wide/],
  ['ffn: [{ kvHeads: 1 }]', 'ffn: 0', { kvHeads: 1 }, /swiglu has no KV heads/],
  [
    'ffn: [teacher]\noverrides: [{ layers: [2], attention: [{ kvHeads: 2 }] }]',
    'overrides: 0: attention: 0',
    { kvHeads: 2 },
    /do not divide/,
  ],
  [
    'ffn: [teacher]\noverrides: [{ layers: [2], attention: [{ kvHeads: 0.5 }] }]',
    'overrides: 0: attention: 0',
    { kvHeads: 0.5 },
    /no whole number/,
  ],
  ['ffn: [{ lowRank: 577 }]', 'ffn: 0', { lowRank: 577 }, /no rank above 576/],
  ['ffn: [{ heads: every }]', 'ffn: 0', { heads: 'every' }, /swiglu has no KV heads/],
  [
    'ffn: [teacher]\noverrides: [{ layers: [2], attention: [{ queryHeads: 8, kvHeads: 2 }] }]',
    'overrides: 0: attention: 0',
    { queryHeads: 8, kvHeads: 2 },
    /no part of the teacher's 9 in 3/,
  ],
  [
    'ffn: [teacher]\noverrides: [{ layers: [2], attention: [{ queryHeads: 5, kvHeads: 2 }] }]',
    'overrides: 0: attention: 0',
    { queryHeads: 5, kvHeads: 2 },
    /evenly/,
  ],
  [
    'ffn: [teacher]\noverrides: [{ layers: [0, 3..4], ffn: [linear] }]',
    'overrides: 0: layers: 1',
    '3..4',
    /does not have/,
  ],
])('impossible for the teacher: %s', (text, field, value, message) => {
  const error = refusal(() => alternativesOf(parseSpace(`attention: [teacher]\n${text}`, 'bad.yaml'), smol));
  expect(error.code).toBe('file-invalid');
  expect(error.message).toMatch(message);
  expect(error.context).toMatchObject({ at: `bad.yaml: ${field}`, value, fix: expect.any(String) });
});

test.each([
  ['attention: [teacher]\nffn: [{ swiglu: -5 }]', 'ffn: 0: swiglu'],
  ['attention: [teacher]\nffn: [{ swiglu: 1.5 }]', 'ffn: 0: swiglu'],
  ['attention: [teacher]\nffn: []', 'ffn'],
  ['attention: [mamba]\nffn: [teacher]', 'attention: 0'],
  ['attention: [teacher]\nffn: [teacher]\nwidths: 3', ''],
  [
    'attention: [teacher]\nffn: [teacher]\nconstraints: [{ forbid: no-op, slot: mlp }]',
    'constraints: 0: slot',
  ],
  ['attention: [teacher', ''],
])('malformed: %s', (text, field) => {
  const error = refusal(() => parseSpace(text, 'bad.yaml'));
  expect(error.code).toBe('file-invalid');
  expect(error.context.at).toBe(field === '' ? error.context.at : `bad.yaml: ${field}`);
  expect(error.context.at).toMatch(/^bad\.yaml/);
});

test('a space that does not exist lists those that do', async () => {
  await expect(loadSpace('smollm3')).rejects.toMatchObject({
    code: 'file-missing',
    context: { fix: expect.stringContaining('smollm2-135m') },
  });
});
