/**
 * Does the sum of timed blocks predict a student? Times the parts of a heterogeneous student on this machine, then whole
 * requests of it, in one run. Writes bench/results/measured-profile.json. Run:
 * npx tsx bench/measured-profile.ts [hidden] [layers]
 */
import { writeFileSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { conditions, latencyMs, timeRequests, workload } from '../src/hardware/index.ts';
import type { Cost } from '../src/hardware/index.ts';
import type { Architecture, BlockConfig, StreamConfig } from '../src/model/index.ts';
import { openHardware, openStore, profileStage } from '../src/pipeline/index.ts';
import { openRuntime } from '../src/runtime/index.ts';
import { silent } from '../src/util/progress.ts';
import { machine } from './machine.ts';

const hidden = Number(process.argv[2] ?? 576);
const layers = Number(process.argv[3] ?? 12);
const stream: StreamConfig = {
  family: 'llama',
  vocabularySize: 8192,
  hidden,
  normEpsilon: 1e-5,
  ropeTheta: 1e4,
  tiedEmbeddings: true,
  contextLength: 1024,
};
const heads = hidden / 64;
const attentions: readonly BlockConfig[] = [
  { kind: 'gqa', heads, kvHeads: heads, headDim: 64 },
  { kind: 'gqa', heads, kvHeads: 1, headDim: 64 },
  { kind: 'linear' },
  { kind: 'no-op' },
];
const ffns: readonly BlockConfig[] = [
  { kind: 'swiglu', width: Math.round((hidden * 8) / 3) },
  { kind: 'swiglu', width: hidden },
  { kind: 'swiglu', width: Math.round(hidden / 3) },
  { kind: 'linear' },
];
const student: Architecture = {
  stream,
  slots: Array.from({ length: layers }, (_, layer) => [
    { layer, kind: 'attention', block: attentions[layer % attentions.length]! } as const,
    { layer, kind: 'ffn', block: ffns[(layer >> 1) % ffns.length]! } as const,
  ]).flat(),
};
const served = workload({
  batch: 1,
  inputTokens: 128,
  outputTokens: 32,
  weights: 'fp32',
  kv: 'fp32',
});
const requests = 12;
const threads = 2;

const folder = await mkdtemp(join(tmpdir(), 'puzzle-measured-'));
const runtime = await openRuntime({ device: 'cpu', threads });
const timeStudent = (): ReturnType<typeof timeRequests> => timeRequests(student, served, requests, runtime);
const before = await timeStudent();
const profile = await profileStage(
  {
    stream,
    alternatives: student.slots.map(({ block }) => [block]),
    workload: served,
    device: 'cpu',
    threads,
    name: 'bench',
  },
  await openStore(join(folder, 'store')),
  silent,
);
const after = await timeStudent();
await runtime.close();

const file = join(folder, 'profile.json');
writeFileSync(file, JSON.stringify(profile));
const hardware = await openHardware(file);
const { nonBlock, alternatives } = hardware.costs(
  stream,
  student.slots.map(({ block }) => [block]),
  served,
);
await rm(folder, { recursive: true });
const sum = (pick: (cost: Cost) => number): number =>
  alternatives.reduce((total, [cost]) => total + pick(cost!), pick(nonBlock));
const measured = {
  prefillMs: Math.min(before.prefillMs, after.prefillMs),
  decodeMs: Math.min(before.decodeMs, after.decodeMs),
};
const predicted = {
  prefillMs: sum(({ prefillMs }) => prefillMs.value),
  decodeMs: sum(({ decodeMs }) => decodeMs.value),
};
const result = {
  machine: machine(),
  conditions: conditions(),
  student: { hidden, layers, parts: profile.timings.length },
  workload: { batch: 1, input: served.inputTokens, output: served.outputTokens, threads },
  measured: { ...measured, before, after },
  predicted,
  ratio: {
    prefill: predicted.prefillMs / measured.prefillMs,
    decode: predicted.decodeMs / measured.decodeMs,
    latency: sum(latencyMs) / (measured.prefillMs + measured.decodeMs),
  },
};
writeFileSync('bench/results/measured-profile.json', `${JSON.stringify(result, undefined, 1)}\n`);
console.log(JSON.stringify(result, undefined, 1));
