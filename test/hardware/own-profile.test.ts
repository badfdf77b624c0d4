import { expect, test } from 'vitest';
import { profileOfBlocks } from '../../src/hardware/calibration/own-profile.ts';
import {
  blockShape,
  costTable,
  loadProfile,
  workload,
  type HardwareProfile,
  type MeasuredProfile,
  type Timed,
} from '../../src/hardware/index.ts';
import { timeInLoop } from '../../src/hardware/measured/loop-timing.ts';
import { timeInStrip } from '../../src/hardware/measured/strip-timing.ts';
import type { BlockConfig, StreamConfig } from '../../src/model/index.ts';
import { openRuntime } from '../../src/runtime/index.ts';

const stream: StreamConfig = {
  family: 'llama',
  vocabularySize: 512,
  hidden: 512,
  normEpsilon: 1e-5,
  ropeTheta: 1e4,
  tiedEmbeddings: true,
  contextLength: 512,
};
const configs: readonly BlockConfig[] = [
  ...[128, 512, 1024, 2048, 4096].map((width) => ({ kind: 'swiglu', width })),
  ...[8, 4, 2, 1].map((kvHeads) => ({ kind: 'gqa', heads: 8, kvHeads, headDim: 64 })),
];
const parts: readonly Timed[] = configs.flatMap((config) =>
  [1, 4, 16].flatMap((batch): Timed[] => [
    { part: 'block', phase: 'prefill', config, batch, tokens: 128 },
    { part: 'block', phase: 'decode', config, batch, length: 256 },
  ]),
);

function timeOn(profile: HardwareProfile, timed: Timed): number {
  if (timed.part === 'head') throw new RangeError('blocks only');
  const length = timed.phase === 'prefill' ? timed.tokens : timed.length;
  const { batch } = timed;
  const w = workload({
    batch,
    inputTokens: length,
    outputTokens: 1,
    prefillTokens: batch * length,
    weights: 'fp32',
    kv: 'fp32',
    activations: 'fp32',
  });
  const cost = costTable(stream, [[blockShape(timed.config, stream)]], w, profile).alternatives[0]![0]!;
  return timed.phase === 'prefill' ? cost.prefillMs.value : cost.decodeMs.value;
}

test('from times of blocks alone comes the machine that made them', () => {
  const base = loadProfile('generic-cpu');
  const machine: HardwareProfile = {
    ...base,
    gemm: base.gemm.map((kernel) => ({
      ...kernel,
      model: {
        ...kernel.model,
        smooth: { ...kernel.model.smooth, computeEfficiency: 0.3, bandwidthEfficiency: 0.4 },
      },
    })),
    streaming: { ...base.streaming, bandwidthEfficiency: 0.3 },
  };
  const measured: MeasuredProfile = {
    schema: 'puzzle/measured-profile@1',
    name: 'there',
    device: { kind: 'cpu', description: 'a slower machine', threads: 2 },
    runtime: 'onnxruntime-node',
    conditions: { before: { load: 0 }, after: { load: 0 } },
    date: '2026-11-24',
    workload: workload({ weights: 'fp32', kv: 'fp32' }),
    batches: [1, 4, 16],
    stream: { hidden: stream.hidden, vocabularySize: stream.vocabularySize },
    timings: parts.map((timed, i) => {
      const ms = timeOn(machine, timed);
      return { part: String(i), timed, ms, lowMs: ms, highMs: ms, repeats: 9, outliers: 0 };
    }),
  };
  const origin = { name: 'mine', source: 'test', date: '2026-11-24' };
  const fitted = profileOfBlocks(measured, base, origin);
  expect(profileOfBlocks(measured, base, origin)).toEqual(fitted);
  const between: Timed = {
    part: 'block',
    phase: 'prefill',
    config: { kind: 'swiglu', width: 1536 },
    batch: 2,
    tokens: 200,
  };
  for (const timed of [...parts, between])
    expect(Math.abs(timeOn(fitted, timed) / timeOn(machine, timed) - 1)).toBeLessThan(0.1);
  expect(Math.abs(timeOn(base, between) / timeOn(machine, between) - 1)).toBeGreaterThan(0.5);
  expect(fitted.gemm.find(({ kind }) => kind === 'fp32')!.model.heldOut!.medianError).toBeLessThan(0.1);
  expect(() => profileOfBlocks({ ...measured, timings: measured.timings.slice(0, 3) }, base, origin)).toThrow(
    expect.objectContaining({ code: 'file-invalid' }),
  );
});

test('a block is timed in a strip of copies and in a loop on the device', async () => {
  const runtime = await openRuntime({ device: 'cpu', threads: 1 });
  try {
    for (const config of [configs[1]!, configs[6]!]) {
      const timed = { part: 'block', phase: 'decode', config, batch: 1, length: 64 } as const;
      for (const timing of [
        await timeInStrip(timed, stream, 2 ** 24, runtime),
        await timeInLoop(timed, stream, runtime),
      ]) {
        expect(timing.ms).toBeGreaterThan(0);
        expect(timing.lowMs).toBeLessThanOrEqual(timing.ms);
        expect(timing.highMs).toBeGreaterThanOrEqual(timing.ms);
      }
    }
    expect(runtime.residents).toBe(0);
  } finally {
    await runtime.close();
  }
}, 120_000);
