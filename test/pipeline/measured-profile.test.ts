/** Timings of this machine as the costs of a search: complete, additive, refused for another workload. */
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { latencyMs, workload, type MeasuredProfile } from '../../src/hardware/index.ts';
import type { BlockConfig } from '../../src/model/index.ts';
import { openHardware, openStore, profileStage } from '../../src/pipeline/index.ts';
import { silent } from '../../src/util/progress.ts';

const stream = {
  family: 'llama',
  vocabularySize: 256,
  hidden: 64,
  normEpsilon: 1e-5,
  ropeTheta: 1e4,
  tiedEmbeddings: true,
  contextLength: 256,
};
const attention: BlockConfig = { kind: 'gqa', heads: 4, kvHeads: 2, headDim: 16 };
const ffn: BlockConfig = { kind: 'swiglu', width: 256 };
const alternatives = [
  [attention, { kind: 'no-op' }],
  [ffn, { ...ffn, width: 32 }, { kind: 'no-op' }],
];
const served = workload({ batch: 2, inputTokens: 32, outputTokens: 16, weights: 'fp32', kv: 'fp32' });

let folder: string;
let profile: MeasuredProfile;
let path: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'puzzle-profile-'));
  const store = await openStore(join(folder, 'store'));
  const input = { stream, alternatives, workload: served, device: 'cpu', threads: 1, name: 'here' } as const;
  profile = await profileStage(input, store, silent);
  // Everything is in the store now: the same profile comes back to the last digit.
  expect((await profileStage(input, store, silent)).timings).toEqual(profile.timings);
  path = join(folder, 'profile.json');
  await writeFile(path, JSON.stringify(profile));
});
afterAll(() => rm(folder, { recursive: true, force: true }));

test('every distinct part is timed once, with its spread', () => {
  const parts = profile.timings.map(({ part }) => part);
  expect(new Set(parts).size).toBe(parts.length);
  // The head; attention in prefill and at three cache lengths; two FFNs in prefill and decode.
  expect(parts).toHaveLength(1 + 4 + 2 * 2);
  for (const { lowMs, ms, highMs } of profile.timings) {
    expect(ms).toBeGreaterThan(0);
    expect(lowMs).toBeLessThanOrEqual(ms);
    expect(highMs).toBeGreaterThanOrEqual(ms);
  }
});

test('a search costs blocks by these timings, and says that they are measured', async () => {
  const hardware = await openHardware(path);
  expect(hardware.workload).toEqual(served);
  const costs = hardware.costs(stream, alternatives, served);
  const [[own, none], [wide, narrow]] = costs.alternatives as [
    (typeof costs.alternatives)[0],
    (typeof costs.alternatives)[0],
  ];
  const timeOf = (phase: string, width: number): number =>
    profile.timings.find(({ part }) => part.startsWith(phase) && part.includes(`["width",${width}]`))!.ms;
  expect(wide!.prefillMs).toMatchObject({ value: timeOf('prefill', 256), source: 'measured' });
  expect(wide!.decodeMs.value).toBeCloseTo(served.outputTokens * timeOf('decode', 256), 9);
  expect(narrow!.decodeMs.value).toBeCloseTo(served.outputTokens * timeOf('decode', 32), 9);
  expect(latencyMs(none!)).toBe(0);
  expect(latencyMs(own!)).toBeGreaterThan(0);
  // K and V, 2 heads of 16, 48 tokens, 2 sequences, 4 bytes.
  expect(own!.kvBytes).toBe(2 * 2 * 16 * 48 * 2 * 4);
});

test('another workload, or a block that was not timed, is refused', async () => {
  const hardware = await openHardware(path);
  expect(() => hardware.costs(stream, alternatives, { ...served, batch: 3 })).toThrow(
    expect.objectContaining({ code: 'bad-usage' }),
  );
  expect(() => hardware.costs(stream, [[{ ...ffn, width: 48 }]], served)).toThrow(
    expect.objectContaining({ code: 'bad-usage' }),
  );
});
