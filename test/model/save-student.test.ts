import { readFileSync, readdirSync, writeFileSync, mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { openModel, saveStudent, type Architecture, type StudentWeights } from '../../src/model/index.ts';
import { float32, inMemory, type Tensor } from '../../src/tensor/index.ts';
import { temporaryFolder } from '../tensor/tensor-files.ts';
import { namedTensors, tinyArchitecture, tinyConfig, tinyWeights, writeHuggingFace } from './tiny-model.ts';

const home = temporaryFolder();
const teacherArchitecture = tinyArchitecture('qwen2', true);
const teacherWeights = tinyWeights(teacherArchitecture);
await writeHuggingFace(
  join(home, 'teacher'),
  tinyConfig('qwen2', { tie_word_embeddings: true }),
  namedTensors(teacherArchitecture, teacherWeights, 'huggingFace'),
);

/** One block of every kind that is not the teacher's: linear, nothing, narrower. */
const architecture: Architecture = {
  stream: teacherArchitecture.stream,
  slots: [
    { layer: 0, kind: 'attention', block: { kind: 'linear' } },
    { layer: 0, kind: 'ffn', block: { kind: 'no-op' } },
    teacherArchitecture.slots[2]!,
    { layer: 1, kind: 'ffn', block: { kind: 'swiglu', width: 3 } },
  ],
};
const filled = (shape: number[]): Tensor<'float32'> =>
  float32(
    Float32Array.from({ length: shape.reduce((a, b) => a * b) }, (_, i) => i / 7),
    shape,
  );
const ownSlots: Record<number, Record<string, Tensor<'float32'>>> = {
  0: { norm: filled([20]), matrix: filled([20, 20]) },
  1: {},
  3: { norm: filled([20]), gate: filled([3, 20]), up: filled([3, 20]), down: filled([20, 3]) },
};

/** The student's weights: its own, and slot 2 straight from the teacher's file. */
async function studentWeights(): Promise<StudentWeights & { close(): Promise<void> }> {
  const teacher = await openModel(join(home, 'teacher'));
  return {
    stream: teacher.stream,
    slot: (index) =>
      index === 2
        ? teacher.slot(2)
        : Object.fromEntries(
            Object.entries(ownSlots[index]!).map(([name, tensor]) => [name, inMemory(name, tensor)]),
          ),
    close: () => teacher.close(),
  };
}

async function save(folder: string): Promise<void> {
  const weights = await studentWeights();
  const teacher = await openModel(join(home, 'teacher'));
  try {
    await saveStudent(folder, architecture, weights, await teacher.tokenizer());
  } finally {
    await teacher.close();
    await weights.close();
  }
}

test('a student of any blocks comes back as it was', async () => {
  await save(join(home, 'run', 'student'));
  writeFileSync(join(home, 'run', 'architecture.json'), '{}');
  const student = await openModel(join(home, 'run'));
  expect(student.architecture).toEqual(architecture);
  expect(await student.slotWeights(0)).toEqual(ownSlots[0]);
  expect(await student.slotWeights(1)).toEqual({});
  expect(await student.slotWeights(2)).toEqual(teacherWeights.slots[2]);
  expect(await student.slotWeights(3)).toEqual(ownSlots[3]);
  expect(await student.head()).toEqual(teacherWeights.stream.embedding);
  expect(student.stream.head).toBeUndefined();
  expect([...(await student.tokenizer()).encode('the others')].length).toBeGreaterThan(1);
  await student.close();
});

test('saving twice gives the same bytes and the same identity', async () => {
  const [first, second] = [join(home, 'first'), join(home, 'second')];
  await save(first);
  await save(second);
  for (const name of readdirSync(first)) {
    expect(readFileSync(join(second, name)).equals(readFileSync(join(first, name)))).toBe(true);
  }
  const [a, b] = [await openModel(first), await openModel(second)];
  expect(a.identity).toBe(b.identity);
  await a.close();
  await b.close();
});

test('an existing folder is refused and left alone', async () => {
  const folder = join(home, 'taken');
  mkdirSync(folder);
  writeFileSync(join(folder, 'mine'), 'kept');
  await expect(save(folder)).rejects.toMatchObject({ code: 'not-writable', context: { at: folder } });
  expect(readdirSync(folder)).toEqual(['mine']);
});

test('weights that cannot be loaded leave nothing behind', async () => {
  const weights = await studentWeights();
  const broken: StudentWeights = {
    ...weights,
    slot: (index) =>
      index === 3
        ? { down: { ...inMemory('down', filled([1])), load: () => Promise.reject(new Error('gone')) } }
        : {},
  };
  const teacher = await openModel(join(home, 'teacher'));
  const saving = saveStudent(join(home, 'broken'), architecture, broken, await teacher.tokenizer());
  await expect(saving).rejects.toThrow('gone');
  expect(readdirSync(home).filter((name) => name.includes('broken'))).toEqual([]);
  await teacher.close();
  await weights.close();
});

test.each([
  ['another schema', (a: Record<string, unknown>) => ({ ...a, schema: 'puzzle/architecture@9' }), 'schema'],
  ['an unknown field', (a: Record<string, unknown>) => ({ ...a, extra: 1 }), ''],
  ['slots that are none', (a: Record<string, unknown>) => ({ ...a, slots: [{ layer: -1 }] }), 'slots: 0'],
])('architecture.json with %s is refused', async (_, damage, at) => {
  const folder = join(home, `damaged ${at}`);
  await save(folder);
  const path = join(folder, 'architecture.json');
  writeFileSync(
    path,
    JSON.stringify(damage(JSON.parse(readFileSync(path, 'utf8')) as Record<string, unknown>)),
  );
  await expect(openModel(folder)).rejects.toMatchObject({
    code: 'file-invalid',
    context: { at: expect.stringContaining(at === '' ? path : `${path}: ${at}`) },
  });
});
