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

const labels = (groups: readonly (readonly BlockConfig[])[]): string[][] =>
  groups.map((group) => group.map((config) => blockOf(config).label(config)));

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
  expect(await bundledSpaces()).toEqual(expect.arrayContaining(['default', 'smollm2-135m']));
  for (const name of await bundledSpaces()) {
    const groups = alternativesOf(await loadSpace(name), smol);
    for (const group of groups) expect(group.length).toBeGreaterThan(2);
  }
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
