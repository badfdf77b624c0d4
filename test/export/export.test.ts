import { cpSync, existsSync, mkdirSync, readFileSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { basename, join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import {
  exportModel,
  openExportSource,
  type ExportFormat,
  type ExportReceipt,
} from '../../src/export/index.ts';
import { configOf } from '../../src/export/hf-config.ts';
import { openModel, readArchitecture, type BlockConfig } from '../../src/model/index.ts';
import { inMemory, openSafetensors, writeSafetensors } from '../../src/tensor/index.ts';
import { sha256 } from '../../src/util/hash.ts';
import { temporaryFolder } from '../tensor/tensor-files.ts';
import {
  namedTensors,
  tinyArchitecture,
  tinyConfig,
  tinyWeights,
  writeHuggingFace,
} from '../model/tiny-model.ts';
import { onOurSide } from './our-side.ts';
import { bundled, changed, mixtures, saveMixture } from './students.ts';

const home = temporaryFolder();
const teacher = await openModel(bundled);
afterAll(() => teacher.close());
const students = mixtures(teacher.architecture);
const pathOf = (name: string): string => (name === 'teacher' ? bundled : join(home, name));

beforeAll(async () => {
  for (const [name, changes] of Object.entries(students)) await saveMixture(bundled, changes, pathOf(name));
});

type Options = Partial<Parameters<typeof exportModel>[1]>;

let outs = 0;
async function write(path: string, format: ExportFormat, options: Options = {}): Promise<ExportReceipt> {
  const out = join(home, `out-${outs++}`);
  const source = await openExportSource(path);
  try {
    return await exportModel(source, { format, out, ...options });
  } finally {
    await source.checkpoint.close();
  }
}

/** Where `openModel` finds what was written. */
const written = ({ out, files }: ExportReceipt): string => {
  const gguf = files.find(({ name }) => name.endsWith('.gguf'));
  return gguf === undefined ? out : join(out, gguf.name);
};

const contents = (folder: string): Record<string, string> =>
  Object.fromEntries(
    readdirSync(folder)
      .sort()
      .map((name) => [name, sha256(readFileSync(join(folder, name)))]),
  );

const bytesOf = (data: Float32Array): Uint8Array => new Uint8Array(data.buffer);

/** Has other numbers of query heads in some layers, for which the only dialect has no FFN of one matrix. */
const uneven = 'dropped heads and low ranks';
const models = ['teacher', ...Object.keys(students)];
/** As they are. */
const exact: Options = {};
const ways: readonly (readonly [ExportFormat, Options])[] = [
  ['hf', exact],
  ['hf', { dtype: 'bf16', shardBytes: 1e6 }],
  ['hf', { dialect: 'nemotron-nas', dtype: 'f16' }],
  ['gguf', exact],
  ['gguf', { dtype: 'bf16' }],
  ['gguf', { dtype: 'q8_0' }],
  ['gguf', { dtype: 'q4_0' }],
];

test.each(models)('%s: export, import, export again gives the same bytes', async (name) => {
  const complete = name === 'teacher' || name === 'every kind';
  for (const [format, options] of complete ? ways : ways.filter(([, given]) => given === exact)) {
    if (name === uneven && format === 'hf') continue;
    const first = await write(pathOf(name), format, options);
    const again = await write(written(first), format, options);
    expect(contents(again.out), `${format} ${JSON.stringify(options)}`).toEqual(contents(first.out));
  }
});

test('a student is the same model after export and import', async () => {
  const name = 'every kind';
  const ids = (await teacher.tokenizer()).encode(readFileSync('README.md', 'utf8'), 100);
  const before = await onOurSide(pathOf(name), (side) => side.next(ids));
  for (const format of ['hf', 'gguf'] as const) {
    const path = written(await write(pathOf(name), format));
    expect(await onOurSide(path, (side) => side.next(ids)), format).toEqual(before);
  }
});

test('Hugging Face folders keep the architecture, layer by layer', async () => {
  for (const [name, changes] of Object.entries(students)) {
    if (name === uneven) continue;
    const { out, dialect } = await write(pathOf(name), 'hf');
    expect(dialect).toBe('nemotron-nas');
    const model = await openModel(out);
    expect(model.architecture).toEqual(changed(teacher.architecture, changes));
    expect(readArchitecture(out)).toEqual(model.architecture);
    await model.close();
  }
});

test('GGUF files keep it too, a linear FFN as the attention that it is equal to', async () => {
  const { out, files, notes, architecture } = await write(pathOf('every kind'), 'gguf');
  expect(architecture).toBe('deci');
  const model = await openModel(join(out, files[0]!.name));
  const kinds = model.architecture.slots.map(({ block }) => block.kind);
  const layers = Array.from({ length: kinds.length / 2 }, (_, layer) =>
    kinds.slice(2 * layer, 2 * layer + 2).join(' + '),
  );
  await model.close();
  expect(layers).toEqual([
    'no-op + swiglu',
    'gqa + no-op',
    'linear + no-op', // layer 2's attention,
    'linear + no-op', // and its FFN
    'linear + no-op',
    'gqa + no-op',
    'linear + no-op',
    'no-op + no-op',
    'gqa + swiglu',
    'gqa + no-op',
  ]);
  expect(notes.filter((note) => note.includes('linear attention'))).toHaveLength(3);
});

test('two thin matrices become the one that they are, and the receipt says so', async () => {
  const { out, files, notes } = await write(pathOf(uneven), 'gguf');
  expect(notes.filter((note) => note.includes('multiplied'))).toHaveLength(2);
  const [before, after] = [await openModel(pathOf(uneven)), await openModel(join(out, files[0]!.name))];
  const place = before.architecture.slots.findIndex(({ block }) => block.kind === 'low-rank');
  const { reduce, expand, norm } = await before.slotWeights(place);
  const whole = after.architecture.slots.findIndex(({ block }) => block.kind === 'linear');
  const { linear, norm: normAfter } = await after.slotWeights(whole);
  expect(normAfter).toEqual(norm);
  const [rank, hidden] = reduce!.shape as [number, number];
  for (const row of [0, 17, hidden - 1]) {
    for (const column of [0, 5, hidden - 1]) {
      let sum = 0;
      for (let i = 0; i < rank; i++)
        sum += expand!.data[row * rank + i]! * reduce!.data[i * hidden + column]!;
      expect(linear!.data[row * hidden + column]).toBeCloseTo(sum, 5);
    }
  }
  await Promise.all([before.close(), after.close()]);
});

test('uniform models are what they always were', async () => {
  for (const [format, architecture] of [
    ['hf', 'LlamaForCausalLM'],
    ['gguf', 'llama'],
  ] as const)
    expect((await write(bundled, format)).architecture).toBe(architecture);
  const plain = await write(bundled, 'hf', { dtype: 'bf16' });
  const { rope_scaling: _, ...own } = JSON.parse(readFileSync(join(plain.out, 'config.json'), 'utf8'));
  expect(own).toMatchObject(JSON.parse(readFileSync(join(bundled, 'config.json'), 'utf8')));
  const [ours, theirs] = await Promise.all([plain.out, bundled].map((folder) => openModel(folder)));
  for (const index of teacher.architecture.slots.keys())
    for (const [name, tensor] of Object.entries(await theirs!.slotWeights(index)))
      expect(sha256(bytesOf((await ours!.slotWeights(index))[name]!.data))).toBe(
        sha256(bytesOf(tensor.data)),
      );
  await Promise.all([ours!.close(), theirs!.close()]);
});

test('per-layer configs: only what differs, and back', async () => {
  const { out } = await write(pathOf('narrower only'), 'hf', { dialect: 'per-layer-config' });
  const config = JSON.parse(readFileSync(join(out, 'config.json'), 'utf8'));
  expect(config).toMatchObject({ model_type: 'llama', intermediate_size: 384, num_key_value_heads: 2 });
  expect(config.per_layer_config).toEqual({
    1: { intermediate_size: 192, num_key_value_heads: 1 },
    7: { intermediate_size: 128, num_key_value_heads: 1 },
  });
  const model = await openModel(out);
  expect(model.architecture).toEqual(changed(teacher.architecture, students['narrower only']!));
  await model.close();
  const skips = join(home, 'skips');
  await saveMixture(bundled, { 1: [{ kind: 'no-op' }], 2: [undefined, { kind: 'no-op' }] }, skips);
  const skipping = await write(skips, 'hf', { dialect: 'per-layer-config' });
  expect(readArchitecture(skipping.out)).toEqual(readArchitecture(skips));
  expect(JSON.parse(readFileSync(join(skipping.out, 'config.json'), 'utf8')).per_layer_config).toEqual({
    1: { skip: ['attention'] },
    2: { skip: ['mlp'] },
  });
});

const smollm2 = '../shared/models/SmolLM2-135M-Instruct.Q4_1.gguf';
const published = '../shared/architectures/nemotron-super-49b-v1.config.json';
const absent = existsSync(published) ? '' : ` (skipped: there is no ${published})`;
test.skipIf(absent !== '')(
  `a published nemotron-nas config is written field by field as it was${absent}`,
  () => {
    const {
      _name_or_path: _,
      transformers_version: __,
      ...theirs
    } = JSON.parse(readFileSync(published, 'utf8'));
    const ours = configOf(readArchitecture(published), 'nemotron-nas', 'bf16', {
      bos: theirs.bos_token_id,
      eos: theirs.eos_token_id,
    });
    expect(ours).toEqual(theirs);
  },
);

test('shards: none larger than asked unless a tensor is, all in the index', async () => {
  const { files, out } = await write(bundled, 'hf', { shardBytes: 1_000_000 });
  const shards = files.filter(({ name }) => name.endsWith('.safetensors'));
  expect(shards.length).toBeGreaterThan(5);
  for (const { bytes } of shards) expect(bytes).toBeLessThan(1_010_000);
  const index = JSON.parse(readFileSync(join(out, 'model.safetensors.index.json'), 'utf8'));
  expect(new Set(Object.values(index.weight_map))).toEqual(new Set(shards.map(({ name }) => name)));
  expect(index.metadata.total_size).toBe(4 * 1_706_112);
});

/** A small model of a family with random weights; heads of 16, as ONNX Runtime's kernels want them. */
const tiny = async (family: string, changes: object = {}): Promise<string> => {
  const folder = join(home, `${family}-${outs++}`);
  const { stream, slots } = tinyArchitecture(family);
  const wider = (block: BlockConfig): BlockConfig =>
    block.kind === 'gqa' ? { ...block, headDim: 16 } : block;
  const architecture = { stream, slots: slots.map((slot) => ({ ...slot, block: wider(slot.block) })) };
  const config = tinyConfig(family, { head_dim: 16, ...changes });
  await writeHuggingFace(
    folder,
    config,
    namedTensors(architecture, tinyWeights(architecture), 'huggingFace'),
  );
  return folder;
};

const llama3 = {
  rope_type: 'llama3',
  factor: 8,
  low_freq_factor: 1,
  high_freq_factor: 4,
  original_max_position_embeddings: 8192,
};
test.each([
  ['llama', {}, 'llama'],
  ['llama', { rope_scaling: llama3 }, 'llama'],
  ['mistral', {}, 'llama'],
  ['qwen2', {}, 'qwen2'],
  ['qwen3', {}, 'qwen3'],
] as const)('a %s %j goes to both formats and back', async (family, changes, gguf) => {
  const path = await tiny(family, changes);
  const before = await openModel(path);
  for (const [format, expected] of [
    ['hf', undefined],
    ['gguf', gguf],
  ] as const) {
    const receipt = await write(path, format);
    if (expected !== undefined) expect(receipt.architecture).toBe(expected);
    const after = await openModel(written(receipt));
    const { family: _, ...stream } = before.architecture.stream;
    expect(after.architecture).toMatchObject({ slots: before.architecture.slots, stream });
    for (const index of before.architecture.slots.keys())
      expect(await after.slotWeights(index)).toEqual(await before.slotWeights(index));
    expect(await after.head()).toEqual(await before.head());
    const text = "The others gather, it's 2024.\n\n  <s>";
    expect((await after.tokenizer()).encode(text)).toEqual((await before.tokenizer()).encode(text));
    await after.close();
    const again = await write(written(receipt), format);
    expect(contents(again.out)).toEqual(contents(receipt.out));
  }
  await before.close();
});

test('windows: in the dialects that have them', async () => {
  const all = await tiny('mistral', { sliding_window: 16 });
  const some = await tiny('qwen2', { sliding_window: 16, use_sliding_window: true, max_window_layers: 1 });
  for (const path of [all, some]) {
    const { out, dialect } = await write(path, 'hf');
    expect(dialect).toBe('plain');
    expect(readArchitecture(out)).toEqual(readArchitecture(path));
    await expect(write(path, 'gguf')).rejects.toMatchObject({ code: 'cannot-express' });
    await expect(write(path, 'hf', { dialect: 'nemotron-nas' })).rejects.toMatchObject({
      code: 'cannot-express',
    });
  }
});

test('what a format has no words for: layer, block and the formats that can', async () => {
  const student = join(home, 'norms');
  await saveMixture(await tiny('qwen3'), { 1: [undefined, { kind: 'no-op' }] }, student);
  await expect(write(student, 'gguf')).rejects.toMatchObject({
    code: 'cannot-express',
    message: expect.stringMatching(
      /gguf cannot express the kv2 attention of layer 0: .* norms no query and key heads/,
    ),
    context: { details: { layer: 0, slot: 'attention', formats: expect.arrayContaining(['--format onnx']) } },
  });
  await expect(write(student, 'hf')).rejects.toMatchObject({ code: 'cannot-express' });
  await expect(write(pathOf(uneven), 'hf')).rejects.toMatchObject({
    code: 'cannot-express',
    message: expect.stringContaining('as many query heads in every layer'),
    context: { details: { layer: 1, formats: ['--format gguf', '--format onnx'] } },
  });
  await expect(write(pathOf('every kind'), 'hf', { dialect: 'plain' })).rejects.toMatchObject({
    code: 'cannot-express',
    context: {
      at: 'layer 0: attention',
      details: { formats: expect.arrayContaining(['--format hf --dialect nemotron-nas', '--format gguf']) },
    },
  });
});

/** The names under which anything of an export could still lie about. */
const leftovers = (): string[] =>
  readdirSync(home).filter((name) => name.includes('.tmp') || name === 'never');

test('bad input: coded errors, nothing half written', async () => {
  const out = join(home, 'never');
  const attempt = async (path: string, options: Options = {}): Promise<ExportReceipt> =>
    write(path, 'gguf', { out, ...options });
  const broken = join(home, 'broken');
  cpSync(pathOf('every kind'), broken, { recursive: true });
  const weights = await openSafetensors(join(broken, 'model.safetensors'));
  const tensors = [...weights.tensors.values()];
  const last = await tensors.at(-1)!.load();
  last.data[3] = Number.NaN;
  await writeSafetensors(join(broken, 'new'), [
    ...tensors.slice(0, -1),
    inMemory(tensors.at(-1)!.name, last),
  ]);
  await weights.close();
  cpSync(join(broken, 'new'), join(broken, 'model.safetensors'));
  await expect(attempt(broken)).rejects.toMatchObject({ code: 'weights-not-finite' });
  await expect(attempt(broken, { format: 'hf' })).rejects.toMatchObject({ code: 'weights-not-finite' });
  expect(leftovers()).toEqual([]);

  await expect(attempt(bundled, { dialect: 'plain' })).rejects.toMatchObject({ code: 'bad-usage' });
  await expect(attempt(bundled, { format: 'hf', dtype: 'q8_0' })).rejects.toMatchObject({
    code: 'bad-usage',
  });
  await expect(attempt(join(home, 'nowhere'))).rejects.toMatchObject({ code: 'file-missing' });
  await expect(attempt(bundled, { out: join(bundled, 'README.md', 'x') })).rejects.toMatchObject({
    code: 'not-writable',
  });

  mkdirSync(out);
  await attempt(bundled); // an empty folder is no obstacle
  const before = contents(out);
  await expect(attempt(bundled)).rejects.toMatchObject({ code: 'not-writable' });
  expect(contents(out)).toEqual(before);
  rmSync(out, { recursive: true });
});

test('runs: finished with their teacher there, or a coded error', async () => {
  const run = join(home, 'run');
  const record = (teacher: object | undefined): void =>
    writeFileSync(
      join(run, 'run.json'),
      JSON.stringify({
        schema: 'puzzle/run@1',
        command: 'puzzle search',
        versions: {},
        request: {},
        teacher,
      }),
    );
  mkdirSync(`${run}.new`);
  await expect(write(run, 'gguf')).rejects.toMatchObject({ code: 'run-unfinished' });
  rmSync(`${run}.new`, { recursive: true });
  mkdirSync(run);
  record({ path: 'bundled', identity: '' });
  writeFileSync(join(run, 'report.md'), '# Title\n\n## Layers\n\n| a table |\n');
  await expect(write(run, 'gguf')).rejects.toMatchObject({ code: 'run-unfinished' });
  cpSync(pathOf('every kind'), join(run, 'student'), { recursive: true });
  const { out } = await write(run, 'hf');
  const card = readFileSync(join(out, 'README.md'), 'utf8');
  expect(card).toMatch(/^---\n(?:.*\n)*license: apache-2.0\nbase_model: "moby-2m"\n/);
  expect(card).toContain('puzzle search');
  expect(card).toContain('### Layers\n\n| a table |');
  record({ path: join(home, 'gone'), identity: '' });
  await expect(write(run, 'hf')).rejects.toMatchObject({
    code: 'file-missing',
    context: { fix: expect.stringContaining('--teacher') },
  });
  if (existsSync(smollm2)) {
    const named = await openExportSource(run, smollm2);
    expect(named.origin?.licence).toBe('apache-2.0');
    await named.checkpoint.close();
  }
  const moved = await openExportSource(run, bundled);
  expect(moved.origin?.licence).toBe('apache-2.0');
  expect(moved.name).toBe(basename(run));
  await moved.checkpoint.close();
});

test('corrupted exports are refused on import', async () => {
  const { out, files } = await write(pathOf('every kind'), 'gguf');
  const path = join(out, files[0]!.name);
  const bytes = readFileSync(path);
  writeFileSync(path, bytes.subarray(0, -1000));
  await expect(openModel(path)).rejects.toMatchObject({ code: 'file-truncated' });
  const key = bytes.indexOf('deci.attention.head_count_kv') + 'deci.attention.head_count_kv'.length;
  const wrong = Buffer.from(bytes);
  wrong.writeInt32LE(3, key + 4 + 4 + 8 + 4 * 2); // layer 2 is linear
  writeFileSync(path, wrong);
  await expect(openModel(path)).rejects.toMatchObject({ code: 'weights-missing' });
  wrong.writeInt32LE(-1, key + 4 + 4 + 8 + 4 * 2);
  writeFileSync(path, wrong);
  await expect(openModel(path)).rejects.toMatchObject({ code: 'file-invalid' });

  const folder = (await write(pathOf('every kind'), 'hf')).out;
  const at = join(folder, 'config.json');
  const config = JSON.parse(readFileSync(at, 'utf8'));
  const tamper = (change: (copy: typeof config) => void): void => {
    const copy = structuredClone(config);
    change(copy);
    writeFileSync(at, JSON.stringify(copy));
  };
  tamper((copy) => (copy.block_configs[1].attention.n_heads_in_group = 3));
  await expect(openModel(folder)).rejects.toMatchObject({ code: 'file-invalid' });
  tamper((copy) => (copy.block_configs[0].ffn.intermediate_size = 100));
  await expect(openModel(folder)).rejects.toMatchObject({ code: 'weights-shape' });
  tamper((copy) => (copy.block_configs[2].ffn.no_op = true));
  await expect(openModel(folder)).rejects.toMatchObject({ code: 'unsupported-model' });
  tamper((copy) => copy.block_configs.pop());
  await expect(openModel(folder)).rejects.toMatchObject({ code: 'unsupported-model' });
});
