/** estimate, cost, hw and calibrate from the shell: their documents, files, exit codes and refusals. */
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test, vi } from 'vitest';
import { loadProfile, profileNames, type Roofline } from '../../src/hardware/index.ts';
import { runPuzzle } from './run-puzzle.ts';

// A process each: on a busy machine they take their time to start.
vi.setConfig({ testTimeout: 300_000 });

let folder: string;
let arch: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'puzzle-hardware-'));
  arch = join(folder, 'config.json');
  const config = {
    model_type: 'llama',
    architectures: ['LlamaForCausalLM'],
    vocab_size: 128256,
    hidden_size: 4096,
    intermediate_size: 14336,
    num_hidden_layers: 32,
    num_attention_heads: 32,
    num_key_value_heads: 8,
    max_position_embeddings: 8192,
    rms_norm_eps: 1e-5,
    rope_theta: 500000,
    tie_word_embeddings: false,
  };
  await writeFile(arch, JSON.stringify(config));
  await writeFile(join(folder, 'bad-heads.json'), JSON.stringify({ ...config, num_key_value_heads: 5 }));
});
afterAll(() => rm(folder, { recursive: true, force: true }));

/** Fields of all the documents here; each has its own of them. */
interface Document {
  readonly latencyMs: number;
  readonly prefillMs: number;
  readonly decodeMsPerToken: number;
  readonly throughputTokensPerSecond: number;
  readonly kvBytesPerToken: number;
  readonly maxBatch: number;
  readonly source: string;
  readonly errorBand: { readonly low: number; readonly high: number };
  readonly memoryBytes: Readonly<Record<'weights' | 'kv' | 'activations' | 'reserve' | 'total', number>>;
  readonly workload: { readonly batch: number };
  readonly sources: readonly { readonly share: number }[];
  readonly compare: readonly (Document & { readonly hardware: string })[];
  readonly roofline: Roofline;
  readonly rows: readonly Document[];
  readonly profiles: readonly { readonly name: string }[];
  readonly heldOut: readonly { readonly medianError: number }[];
}

async function json(...args: readonly string[]): Promise<Document> {
  const { code, stdout, stderr } = await runPuzzle(...args, '--json', '--quiet');
  expect(stderr).toBe('');
  expect(code).toBe(0);
  return JSON.parse(stdout) as Document;
}

async function refusal(...args: readonly string[]): Promise<{ code: string; message: string; fix: string }> {
  const { code, stdout } = await runPuzzle(...args, '--json', '--quiet');
  expect(code).not.toBe(0);
  return (JSON.parse(stdout) as { error: { code: string; message: string; fix: string } }).error;
}

test('estimate says all of the contract, exactly where it can', async () => {
  const flags = ['--hw', 'h100-sxm', '--weights', 'fp8', '--kv', 'fp8', '--input', '512', '--output', '512'];
  const document = await json('estimate', '--arch', arch, '--batch', '64', ...flags, '--tp', '1');
  expect(document).toMatchObject({
    schema: 'puzzle/estimate@1',
    parameters: 8_030_261_248,
    kvBytesPerToken: 2 * 32 * 8 * 128,
    fits: true,
  });
  const { weights, kv, activations, reserve, total } = document.memoryBytes;
  expect(total).toBe(weights + kv + activations + reserve);
  expect(kv).toBe(64 * 1024 * document.kvBytesPerToken);
  const { latencyMs, prefillMs, decodeMsPerToken, errorBand } = document;
  expect(prefillMs + 512 * decodeMsPerToken).toBeCloseTo(latencyMs, 6);
  expect(document.throughputTokensPerSecond).toBeCloseTo((64 * 512 * 1000) / latencyMs, 6);
  expect(errorBand.low).toBeLessThan(latencyMs);
  expect(errorBand.high).toBeGreaterThan(latencyMs);
  expect(document.sources.reduce((sum, { share }) => sum + share, 0)).toBeCloseTo(1, 9);
});

test('estimate compares GPUs and architectures, finds the best batch, and draws the roofline', async () => {
  const svg = join(folder, 'roofline.svg');
  const flags = '--batch best --chunked-prefill --kv-page 64 --reserve 1GiB --compare h200 a100-sxm/vllm';
  const document = await json('estimate', '--arch', arch, '--svg', svg, '--hw', 'h100', ...flags.split(' '));
  expect(document.workload.batch).toBeLessThanOrEqual(document.maxBatch);
  expect(document.memoryBytes.reserve).toBe(2 ** 30);
  expect(document.compare.map(({ hardware }) => hardware)).toEqual(['h200-sxm', 'a100-sxm/vllm']);
  expect(document.compare[0]!.throughputTokensPerSecond).toBeGreaterThan(document.throughputTokensPerSecond);
  for (const { phase, name, ms, shares } of document.roofline.loads) {
    expect(ms).toBeGreaterThan(0);
    expect(Object.values(shares).reduce((a, b) => a + b)).toBeCloseTo(1, 9);
    // Long prompts keep a GPU computing, one token at a time waits for the weights.
    if (name === 'whole model')
      expect(shares[phase === 'prefill' ? 'compute' : 'memory']).toBeGreaterThan(0.5);
  }
  expect(await readFile(svg, 'utf8')).toMatch(/^<svg[^]*whole model[^]*<\/svg>\n$/);
});

test('static fp8 scales take less time than dynamic ones, never less than the product alone could', async () => {
  const at = ['--hw', 'h100', '--op', 'gemm', '--m', '64', '--n', '4096', '--k', '4096', '--dtype'];
  const [dynamic, fixed] = [await json('cost', ...at, 'fp8'), await json('cost', ...at, 'fp8_static')];
  expect(fixed.latencyMs).toBeLessThan(dynamic.latencyMs);
  expect(fixed.latencyMs).toBeGreaterThan((4096 * 4096) / 3.35e12);
});

test('cost times one kernel as it times the same row of a table, in the order of the file', async () => {
  const rows = join(folder, 'rows.csv');
  await writeFile(rows, 'dtype,m,n,k\nbfloat16,512,4096,8192\nfp8,1,14336,4096\nnvfp4,8,8192,8192\n');
  const table = await json('cost', '--rows', rows, '--hw', 'h100-sxm');
  expect(table.rows).toHaveLength(3);
  const one = await json(
    'cost',
    ...'--op gemm --m 512 --n 4096 --k 8192 --dtype bf16 --hw h100-sxm'.split(' '),
  );
  expect(table.rows[0]!).toEqual({
    latencyMs: one.latencyMs,
    source: 'interpolated',
    errorBand: one.errorBand,
  });
  // H100 has no fp4: a stand-in that says so.
  expect(table.rows[2]!.source).toBe('extrapolated');
  const decode = await json(
    ...'cost --op attention --phase decode --heads 32 --kv-heads 8 --head-dim 128 --batch 16 --length 4096 --kv bf16 --hw h100-sxm/vllm'.split(
      ' ',
    ),
  );
  expect(decode.errorBand.low).toBeLessThan(decode.latencyMs);
});

test('hw lists every shipped profile, shows what one rests on, checks a file', async () => {
  const { profiles } = await json('hw', 'list');
  expect(profiles.map(({ name }) => name)).toEqual(profileNames());
  expect((await runPuzzle('hw', 'show', 'h100')).stdout).toMatch(/ai-dynamo\/aiconfigurator, 095f58a/);
  const file = join(folder, 'profile.json');
  const profile = loadProfile('generic-cpu');
  await writeFile(file, JSON.stringify(profile));
  expect(await json('hw', 'check', file)).toMatchObject({ valid: true });
  await writeFile(
    file,
    JSON.stringify({ ...profile, device: { ...profile.device, bandwidthBytesPerSecond: -1 } }),
  );
  expect(await refusal('hw', 'check', file)).toMatchObject({ code: 'file-invalid' });
  const { bandwidthBytesPerSecond: bandwidth, ...device } = profile.device;
  await writeFile(file, JSON.stringify({ ...profile, device: { ...device, bandwidth } }));
  expect((await refusal('hw', 'check', file)).message).toMatch(/malformed/);
});

test('own measurements become a profile: a table of kernels, and one end-to-end number', async () => {
  const rows = ['dtype,m,n,k,latency_ms'];
  for (const m of [1, 8, 64, 512, 4096])
    for (const n of [1024, 2048, 4096, 8192, 16384])
      for (const k of [1024, 2048, 4096, 8192, 16384]) {
        const computeMs = (2 * m * n * k) / 100e9;
        const memoryMs = (2 * (n * k + m * (n + k))) / 1e9;
        rows.push(`bf16,${m},${n},${k},${(Math.hypot(computeMs, memoryMs) + 0.01).toPrecision(6)}`);
      }
  const table = join(folder, 'own.csv');
  const own = join(folder, 'own.json');
  await writeFile(table, rows.join('\n'));
  const document = await json('calibrate', table, '--hw', 'rtx-4090', '--name', 'my-gpu', '--out', own);
  expect(document.heldOut).toHaveLength(1);
  expect(document.heldOut[0]!.medianError).toBeLessThan(0.02);
  const cost = await json('cost', ...`--op gemm --m 64 --n 3072 --k 6144 --hw ${own}`.split(' '));
  const expected = Math.hypot((2 * 64 * 3072 * 6144) / 100e9, (2 * (3072 * 6144 + 64 * 9216)) / 1e9) + 0.01;
  expect(Math.abs(cost.latencyMs / expected - 1)).toBeLessThan(0.05);
  expect(cost.source).not.toBe('extrapolated');

  const scaled = join(folder, 'scaled.json');
  const workload = ['--arch', arch, '--batch', '8', '--input', '128', '--output', '128'];
  await json('calibrate', ...workload, '--hw', 'h100', '--latency', '4s', '--out', scaled);
  expect((await json('estimate', ...workload, '--hw', scaled)).latencyMs).toBeCloseTo(4000, -1);
});

test('what makes no sense is refused with a code, what does not fit says by how much', async () => {
  const over = await refusal('estimate', '--arch', arch, '--batch', '5000', '--hw', 'h100');
  expect(over.code).toBe('infeasible');
  expect(over.message).toMatch(/GiB more/);
  expect(over.fix).toMatch(/at most \d+/);
  expect((await refusal('estimate', '--arch', join(folder, 'bad-heads.json'))).code).toBe('file-invalid');
  expect((await refusal('estimate', '--arch', arch, '--tp', '3')).code).toBe('bad-usage');
  expect((await refusal('estimate', '--arch', arch, '--hw', 'h1000')).code).toBe('file-missing');
  expect((await refusal('estimate', '--arch', arch, '--batch', 'many')).code).toBe('bad-usage');
  expect((await refusal('cost', '--op', 'gemm', '--m', '0', '--n', '8', '--k', '8')).code).toBe('bad-usage');
  const few = join(folder, 'few.csv');
  await writeFile(few, 'dtype,m,n,k,latency_ms\nbf16,1,8,8,1\n');
  expect((await refusal('calibrate', few, '--hw', 'h100')).fix).toMatch(/at least 100 rows/);
  await writeFile(few, 'dtype,m,n,k\nbf16,-1,8,8\n');
  expect((await refusal('cost', '--rows', few)).code).toBe('file-invalid');
});
