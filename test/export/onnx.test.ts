/** Exported ONNX folders, run by ONNX Runtime as they lie on disk, against our own forward. */
import { cp, readFile, rm, truncate, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { blocks } from '../../src/blocks/index.ts';
import { exportModel, openExportSource, type ExportDtype } from '../../src/export/index.ts';
import { closeDecoder, openOnnxFolder, openSequences } from '../../src/generate/index.ts';
import { modelProto, type ModelProto } from '../../src/graph/onnx-schema.ts';
import { openModel, type Architecture } from '../../src/model/index.ts';
import { openRuntime, type Runtime } from '../../src/runtime/index.ts';
import { temporaryFolder } from '../tensor/tensor-files.ts';
import { onOurSide } from './our-side.ts';
import { bundled, mixtures, saveMixture } from './students.ts';

const home = temporaryFolder();
const student = join(home, 'student');
let runtime: Runtime;
let architecture: Architecture;
beforeAll(async () => {
  runtime = await openRuntime({ device: 'cpu', threads: 1 });
  const teacher = await openModel(bundled);
  await saveMixture(
    bundled,
    { ...mixtures(teacher.architecture)['every kind'], 4: [{ kind: 'low-rank', rank: 9 }] },
    student,
  );
  await teacher.close();
  const checkpoint = await openModel(student);
  architecture = checkpoint.architecture;
  await checkpoint.close();
});
afterAll(async () => runtime.close());

async function exported(path: string, dtype: ExportDtype, name: string): Promise<string> {
  const out = join(home, name);
  const source = await openExportSource(path);
  try {
    await exportModel(source, { format: 'onnx', out, dtype });
  } finally {
    await source.checkpoint.close();
  }
  return out;
}

const logSoftmax = (logits: Float32Array): number[] => {
  const most = logits.reduce((a, b) => Math.max(a, b));
  const sum = Math.log(logits.reduce((total, z) => total + Math.exp(z - most), 0));
  return Array.from(logits, (z) => z - most - sum);
};

/** Largest difference of log-probabilities over a prompt and what follows it, token by token. */
async function worstDifference(folder: string, path: string): Promise<number> {
  const { decoder, tokenizer } = await openOnnxFolder(folder, runtime);
  const ids = tokenizer.encode('There she blows! there! there! there! she blows! she blows!');
  const prompt = ids.length - 6;
  const sequence = await openSequences(decoder, ids.length);
  const found = [await sequence.append(Array.from(ids.subarray(0, prompt)))];
  for (const id of ids.subarray(prompt)) found.push(await sequence.append([id]));
  await sequence.close();
  await closeDecoder(decoder);
  let worst = 0;
  await onOurSide(path, async ({ next }) => {
    for (const [step, logits] of found.entries()) {
      const ours = await next(ids.slice(0, prompt + step));
      logSoftmax(logits).forEach((value, v) => {
        worst = Math.max(worst, Math.abs(value - ours[v]!));
      });
    }
  });
  return worst;
}

test('the student has every kind of block', () => {
  const kinds = new Set(architecture.slots.map(({ block }) => block.kind));
  expect([...kinds].sort()).toEqual(blocks.map(({ kind }) => kind).sort());
});

test.each([
  ['the bundled teacher', bundled, 'f32', 1e-4],
  ['a student of every kind of block', student, 'f32', 1e-4],
  ['the student in halves', student, 'f16', 0.03],
] as const)(
  '%s: prompt and cache give the log-probabilities of the whole forward',
  async (_, path, dtype, within) => {
    const folder = await exported(path, dtype, `${path.split('/').at(-1)}-${dtype}`);
    expect(await worstDifference(folder, path)).toBeLessThan(within);
  },
);

test('the description: ports with lengths by name, a cache of its own shape for each layer that attends', async () => {
  const folder = join(home, 'student-f32');
  const description = JSON.parse(await readFile(join(folder, 'decoder.json'), 'utf8'));
  const attending = architecture.slots.filter(({ block }) => block.kind === 'gqa');
  expect(
    description.cache.map(({ layer, kvHeads }: { layer: number; kvHeads: number }) => [layer, kvHeads]),
  ).toEqual(attending.map(({ layer, block }) => [layer, block['kvHeads']]));
  expect(new Set(attending.map(({ block }) => block['kvHeads'])).size).toBeGreaterThan(1);
  const { graph } = modelProto.toObject(modelProto.decode(await readFile(join(folder, 'model.onnx'))), {
    longs: Number,
  }) as unknown as ModelProto;
  const shapes = (ports: typeof graph.input): object =>
    Object.fromEntries(
      ports.map(({ name, type }) => [
        name,
        (type.tensorType.shape.dim ?? []).map((extent) =>
          'dimParam' in extent ? extent.dimParam : extent.dimValue,
        ),
      ]),
    );
  const described = (ports: Record<string, { shape: unknown }>): object =>
    Object.fromEntries(Object.entries(ports).map(([name, { shape }]) => [name, shape]));
  expect(shapes(graph.input)).toEqual(described(description.inputs));
  expect(shapes(graph.output)).toEqual(described(description.outputs));
  const inline = graph.initializer.filter(({ rawData }) => rawData !== undefined && rawData.length > 64);
  expect(inline).toEqual([]); // every weight lies in the data file
});

test('equal models give equal bytes', async () => {
  const again = await exported(student, 'f32', 'again');
  for (const name of ['decoder.json', 'model.onnx', 'model.onnx.data', 'tokenizer.json'])
    expect(
      Buffer.compare(await readFile(join(again, name)), await readFile(join(home, 'student-f32', name))),
    ).toBe(0);
});

test('damaged folders are coded errors that name the file', async () => {
  const damage = async (harm: (folder: string) => Promise<unknown>): Promise<object> => {
    const folder = join(home, 'damaged');
    await rm(folder, { recursive: true, force: true });
    await cp(join(home, 'student-f32'), folder, { recursive: true });
    await harm(folder);
    return openOnnxFolder(folder, runtime).then(
      () => ({ code: 'none' }),
      ({ code, context }: { code: string; context: { at: string } }) => ({
        code,
        at: context.at.split('/').at(-1),
      }),
    );
  };
  const description = async (folder: string, change: (text: string) => string): Promise<void> => {
    const path = join(folder, 'decoder.json');
    await writeFile(path, change(await readFile(path, 'utf8')));
  };
  expect(await damage((folder) => truncate(join(folder, 'model.onnx.data'), 5000))).toEqual({
    code: 'file-truncated',
    at: 'model.onnx.data',
  });
  expect(await damage((folder) => rm(join(folder, 'model.onnx')))).toEqual({
    code: 'file-missing',
    at: 'model.onnx',
  });
  expect(await damage((folder) => truncate(join(folder, 'model.onnx'), 3000))).toEqual({
    code: 'file-invalid',
    at: 'model.onnx',
  });
  expect(await damage((folder) => rm(join(folder, 'tokenizer.json')))).toMatchObject({
    code: 'file-missing',
  });
  expect(await damage((folder) => description(folder, (text) => text.slice(0, 100)))).toMatchObject({
    code: 'file-invalid',
  });
  expect(
    await damage((folder) =>
      description(folder, (text) => text.replace('"contextLength": 256', '"contextLength": 0')),
    ),
  ).toEqual({ code: 'file-invalid', at: 'decoder.json: contextLength' });
  const renamed = (text: string): string => text.replaceAll('past_key_values.7', 'past_key_values.9');
  expect(await damage((folder) => description(folder, renamed))).toEqual({
    code: 'file-invalid',
    at: 'model.onnx',
  });
  const widened = (text: string): string => text.replace('"kvHeads": 1', '"kvHeads": 2');
  expect(await damage((folder) => description(folder, widened))).toMatchObject({ code: 'file-invalid' });
});
