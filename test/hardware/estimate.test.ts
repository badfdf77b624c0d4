import { existsSync, readFileSync } from 'node:fs';
import { expect, test } from 'vitest';
import {
  bestBatch,
  callTime,
  doesNotFit,
  estimate,
  loadProfile,
  parseProfile,
  profileNames,
  workload,
} from '../../src/hardware/index.ts';
import { readArchitecture } from '../../src/model/index.ts';
import type { AttentionCall, GemmCall } from '../../src/hardware/kernel-call.ts';
import type { HardwareProfile, Quantity } from '../../src/hardware/index.ts';
import type { Architecture } from '../../src/model/architecture.ts';

const nemotron = '../shared/architectures/nemotron-super-49b-v1.config.json';

const llama = (hidden: number, layers: number, heads: number, width: number): Architecture => ({
  stream: {
    family: 'llama',
    vocabularySize: 128256,
    hidden,
    normEpsilon: 1e-5,
    ropeTheta: 5e5,
    tiedEmbeddings: false,
    contextLength: 8192,
  },
  slots: Array.from({ length: layers }, (_, layer) => [
    { layer, kind: 'attention', block: { kind: 'gqa', heads, kvHeads: 8, headDim: hidden / heads } } as const,
    { layer, kind: 'ffn', block: { kind: 'swiglu', width } } as const,
  ]).flat(),
});
const gemmTime = (profile: HardwareProfile, call: GemmCall): Quantity =>
  callTime(profile, { op: 'gemm', call });
const attentionTime = (profile: HardwareProfile, call: AttentionCall): Quantity =>
  callTime(profile, { op: 'attention', call });
const h100 = loadProfile('h100');

test('parameters of Llama 3.1 8B and 70B are the published ones', () => {
  expect(estimate(llama(4096, 32, 32, 14336), workload(), h100).parameters).toBe(8_030_261_248);
  expect(estimate(llama(8192, 80, 64, 28672), workload(), h100).parameters).toBe(70_553_706_496);
});

// arXiv 2411.19146's memory arithmetic: bf16, batch 96, 4096 + 4096 tokens.
test('weights and KV cache of Llama 3.1 8B take the published bytes', () => {
  const { memoryBytes } = estimate(
    llama(4096, 32, 32, 14336),
    workload({ batch: 96, inputTokens: 4096, outputTokens: 4096 }),
    h100,
  );
  expect((memoryBytes.weights + memoryBytes.kv) / 2 ** 20).toBe(113_620.5078125);
  expect(memoryBytes.total).toBe(
    memoryBytes.weights + memoryBytes.kv + memoryBytes.activations + memoryBytes.reserve,
  );
});

test.skipIf(!existsSync(nemotron))(
  'the published 49B: parameters, KV bytes, and what its layers hold (skips without ../shared)',
  () => {
    const architecture = readArchitecture(nemotron);
    const { parameters, kvBytesPerToken } = estimate(
      architecture,
      workload({ weights: 'fp8', kv: 'fp8' }),
      h100,
    );
    expect(parameters).toBe(49_867_145_216);
    expect(kvBytesPerToken).toBe(100_352);
    expect(architecture.slots.filter(({ block }) => block.kind === 'gqa')).toHaveLength(49);
    expect(architecture.slots.filter(({ block }) => block['width'] === 2816)).toHaveLength(6);
  },
);

test('the largest batch fits and the next does not; what does not fit says which batch would', () => {
  const model = llama(4096, 32, 32, 14336);
  const w = workload({ batch: 64 });
  const { maxBatch } = estimate(model, w, h100);
  expect(estimate(model, { ...w, batch: maxBatch }, h100).fits).toBe(true);
  const over = estimate(model, { ...w, batch: maxBatch + 1 }, h100);
  expect(over.fits).toBe(false);
  expect(doesNotFit(over, h100).context.fix).toContain(String(maxBatch));
  expect(bestBatch(model, w, h100).workload.batch).toBeLessThanOrEqual(maxBatch);
});

test('a sliding window caps the cache, quantised formats shrink it, tied embeddings count once', () => {
  const model = llama(4096, 2, 32, 1024);
  const windowed = {
    ...model,
    slots: model.slots.map((s) =>
      s.kind === 'attention' ? { ...s, block: { ...s.block, window: 512 } } : s,
    ),
  };
  const w = workload({ batch: 1, inputTokens: 1024, outputTokens: 1024 });
  const kv = (a: Architecture, given = w): number => estimate(a, given, h100).memoryBytes.kv;
  expect(kv(windowed) * 4).toBe(kv(model));
  expect(kv(model, { ...w, kv: 'fp8' }) * 2).toBe(kv(model));
  const tied = { ...model, stream: { ...model.stream, tiedEmbeddings: true } };
  expect(estimate(model, w, h100).parameters - estimate(tied, w, h100).parameters).toBe(128256 * 4096);
});

test.each(profileNames())(
  'shipped profile %s is valid, small, and times every kernel with a band around it',
  (name) => {
    const profile = loadProfile(name);
    expect(readFileSync(`hardware-profiles/${name.replace('/', '__')}.json`).length).toBeLessThanOrEqual(
      150 * 1024,
    );
    const times = [
      gemmTime(profile, { kind: 'bf16', m: 64, n: 4096, k: 4096 }),
      gemmTime(profile, { kind: 'int4-weights', m: 1, n: 100, k: 300 }),
      attentionTime(profile, {
        phase: 'prefill',
        format: 'bf16',
        kv: 'bf16',
        heads: 32,
        kvHeads: 8,
        headDim: 128,
        batch: 2,
        length: 1000,
      }),
      attentionTime(profile, {
        phase: 'decode',
        format: 'bf16',
        kv: 'fp8',
        heads: 24,
        kvHeads: 2,
        headDim: 96,
        batch: 9,
        length: 5000,
      }),
    ];
    for (const { value, errorBand } of times) {
      expect(value).toBeGreaterThan(0);
      expect(errorBand.low).toBeLessThanOrEqual(value);
      expect(errorBand.high).toBeGreaterThanOrEqual(value);
    }
  },
);

test('a profile with an unknown field or a negative number is refused, naming it', () => {
  const text = readFileSync('hardware-profiles/generic-cpu.json', 'utf8');
  const broken = (change: Record<string, unknown>): string =>
    JSON.stringify({ ...JSON.parse(text), ...change });
  expect(() => parseProfile(broken({ speed: 1 }), 'x.json')).toThrow(/speed/);
  const device = { ...JSON.parse(text).device, memoryBytes: -1 };
  expect(() => parseProfile(broken({ device }), 'x.json')).toThrow(
    expect.objectContaining({ code: 'file-invalid' }),
  );
});

// TensorRT-LLM on H100, 64 heads, batch 64, 4096 cached tokens: 1 KV head 1261 us, 8 KV heads 369 us.
test('fewer KV heads come out slower where the stack is', () => {
  const decode = (kvHeads: number): number =>
    attentionTime(h100, {
      phase: 'decode',
      format: 'bf16',
      kv: 'bf16',
      heads: 64,
      kvHeads,
      headDim: 128,
      batch: 64,
      length: 4096,
    }).value;
  expect(Math.abs(decode(1) / 1.261 - 1)).toBeLessThan(0.1);
  expect(Math.abs(decode(8) / 0.369 - 1)).toBeLessThan(0.1);
});
