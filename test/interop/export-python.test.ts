/** Exports read by transformers and by Python's `gguf`. Skipped where Python or its packages are absent. */
import { execFile, spawnSync } from 'node:child_process';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { exportModel, openExportSource, type ExportReceipt } from '../../src/export/index.ts';
import { openModel, type BlockConfig } from '../../src/model/index.ts';
import { openGguf } from '../../src/tensor/index.ts';
import { greedyAgreement, onOurSide } from '../export/our-side.ts';
import { bundled, mixtures, saveMixture, type Changes } from '../export/students.ts';
import {
  namedTensors,
  tinyArchitecture,
  tinyConfig,
  tinyWeights,
  writeHuggingFace,
} from '../model/tiny-model.ts';
import { temporaryFolder } from '../tensor/tensor-files.ts';

const packages = ['torch', 'transformers', 'safetensors', 'gguf'];
const found = spawnSync('python3', [
  '-c',
  `import importlib.util as u, sys; sys.exit(not all(u.find_spec(p) for p in ${JSON.stringify(packages)}))`,
]);
const skip = found.status !== 0;
const reason = skip ? ` (skipped: no Python with ${packages.join(', ')})` : '';

const home = temporaryFolder();
const teacher = await openModel(bundled);
afterAll(() => teacher.close());

async function python<T>(...parameters: readonly string[]): Promise<T> {
  const { stdout } = await promisify(execFile)('python3', ['test/interop/read-exports.py', ...parameters], {
    maxBuffer: 2 ** 26,
    timeout: 560_000, // so that none outlives its test
    env: { ...process.env, HF_HUB_OFFLINE: '1', HF_MODULES_CACHE: join(home, 'modules') },
  });
  return JSON.parse(stdout) as T;
}

let outs = 0;
async function write(
  path: string,
  options: Omit<Parameters<typeof exportModel>[1], 'out'>,
): Promise<ExportReceipt> {
  const source = await openExportSource(path);
  try {
    return await exportModel(source, { out: join(home, `out_${outs++}`), ...options });
  } finally {
    await source.checkpoint.close();
  }
}

async function student(name: string, changes: Changes): Promise<string> {
  const path = join(home, name);
  await saveMixture(bundled, changes, path);
  return path;
}

async function tiny(family: string): Promise<string> {
  const path = join(home, `tiny-${family}`);
  const architecture = tinyArchitecture(family);
  await writeHuggingFace(
    path,
    tinyConfig(family),
    namedTensors(architecture, tinyWeights(architecture), 'huggingFace'),
  );
  return path;
}

const narrow: readonly BlockConfig[] = [
  { ...teacher.architecture.slots[0]!.block, kvHeads: 1 },
  { kind: 'swiglu', width: 200 },
];
const everyLayer = Object.fromEntries(
  teacher.architecture.slots.map(({ layer }) => [layer, narrow]),
) as unknown as Changes;

interface TheirSide {
  readonly class: string;
  readonly parameters: number;
  readonly logProbabilities: readonly number[];
  readonly greedy: readonly number[];
  readonly tokens: readonly number[];
}

const models: readonly (readonly [name: string, expected: string, path: () => Promise<string>])[] = [
  ['the teacher', 'LlamaForCausalLM', async () => bundled],
  ['a uniform student', 'LlamaForCausalLM', () => student('uniform', everyLayer)],
  ['mistral', 'MistralForCausalLM', () => tiny('mistral')],
  ['qwen2', 'Qwen2ForCausalLM', () => tiny('qwen2')],
  ['qwen3', 'Qwen3ForCausalLM', () => tiny('qwen3')],
  ...Object.entries(mixtures(teacher.architecture))
    // Other numbers of query heads in some layers are nothing that nemotron-nas has.
    .filter(([name]) => !name.startsWith('dropped heads'))
    .map(
      ([name, changes]) =>
        [name, 'DeciLMForCausalLM', () => student(name.replaceAll(' ', '-'), changes)] as const,
    ),
];

const text = "The others gather together, and there it's said: we'll see; they've seen them in 2024.";

/** One process of Python for all: starting it and transformers takes longer than what it does here. */
const theirSides = new Map<string, TheirSide>();
const paths = new Map<string, string>();
beforeAll(async () => {
  if (skip) return;
  const jobs: string[] = [];
  for (const [name, , pathOf] of models) {
    const path = await pathOf();
    paths.set(name, path);
    const { out } = await write(path, { format: 'hf' });
    const source = await openModel(path);
    jobs.push(`${out}=${(await source.tokenizer()).encode(text, 40).join()}`);
    await source.close();
  }
  const answers = await python<readonly TheirSide[]>('transformers', ...jobs);
  for (const [index, [name]] of models.entries()) theirSides.set(name, answers[index]!);
}, 600_000);

test.skipIf(skip).each(models)(
  `%s loads in transformers as %s and gives our logits${reason}`,
  async (name, expected) => {
    const theirs = theirSides.get(name)!;
    expect(theirs.class).toBe(expected);
    await onOurSide(paths.get(name)!, async (ours) => {
      const tokenizer = await ours.checkpoint.tokenizer();
      const ids = tokenizer.encode(text, 40);
      const mine = await ours.next(ids);
      const worst = Math.max(
        ...theirs.logProbabilities.map((value, token) => Math.abs(value - mine[token]!)),
      );
      expect(worst).toBeLessThan(1e-3);
      // Through their cache, layer by layer.
      expect(await greedyAgreement(ours, ids, theirs.greedy)).toBe(8);
      // transformers puts Qwen's own pre-tokenizer before the small vocabulary of these folders.
      if (!expected.startsWith('Qwen'))
        expect(theirs.tokens).toEqual(Array.from(tokenizer.encode("The others gather, it's 2024.")));
    });
  },
);

test.skipIf(skip)(
  `transformers reads the layers of a per_layer_config${reason}`,
  async () => {
    const path = await student('per-layer', {
      1: [narrow[0], narrow[1]!],
      2: [{ kind: 'no-op' }],
      3: [undefined, { kind: 'no-op' }],
    });
    const { out } = await write(path, { format: 'hf', dialect: 'per-layer-config' });
    const layers = await python<readonly object[]>('per-layer', out);
    const same = { width: 384, kvHeads: 2, skip: [] };
    expect(layers).toEqual([
      same,
      { width: 200, kvHeads: 1, skip: [] },
      { ...same, skip: ['attention'] },
      { ...same, skip: ['mlp'] },
      ...Array.from({ length: 4 }, () => same),
    ]);
  },
  600_000,
);

test.skipIf(skip)(
  `Python's gguf reads every dtype${reason}`,
  async () => {
    const path = await student('mixed', mixtures(teacher.architecture)['every kind']!);
    const written: string[] = [];
    for (const dtype of ['f32', 'f16', 'bf16', 'q8_0', 'q4_0'] as const) {
      const { out, files } = await write(path, { format: 'gguf', dtype });
      written.push(join(out, files[0]!.name));
    }
    const answers = await python<readonly GgufContent[]>('gguf', ...written);
    for (const [index, { metadata, tensors }] of answers.entries()) {
      expect(metadata).toMatchObject({
        'general.architecture': 'deci',
        'deci.attention.head_count': [4, 4, 4, 4, 4, 4, 4, 0, 4, 4],
        'deci.attention.head_count_kv': [0, 1, 0, 0, 0, 2, 0, 0, 1, 2],
        'deci.feed_forward_length': [384, 32, 32, 32, 32, 32, 32, 0, 96, 32],
      });
      const ours = await openGguf(written[index]!);
      expect(Object.keys(tensors)).toEqual([...ours.tensors.keys()]);
      for (const { name, shape, encoding, load } of ours.tensors.values()) {
        const sum = (await load()).data.reduce((total, value) => total + value, 0);
        expect(tensors[name]).toMatchObject({ type: encoding, shape });
        expect(tensors[name]!.sum).toBeCloseTo(sum, 3);
      }
      await ours.close();
    }
  },
  600_000,
);

interface GgufContent {
  readonly metadata: Readonly<Record<string, unknown>>;
  readonly tensors: Readonly<
    Record<string, { readonly type: string; readonly shape: readonly number[]; readonly sum: number }>
  >;
}
