/** Exported ONNX folders in Python: its checker, and its ONNX Runtime run by what decoder.json says. Skipped without. */
import { execFile, spawnSync } from 'node:child_process';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { expect, test } from 'vitest';
import { exportModel, openExportSource, type ExportDtype } from '../../src/export/index.ts';
import { openModel } from '../../src/model/index.ts';
import { onOurSide } from '../export/our-side.ts';
import { bundled, mixtures, saveMixture } from '../export/students.ts';
import { temporaryFolder } from '../tensor/tensor-files.ts';

const packages = ['onnx', 'onnxruntime', 'numpy'];
const found = spawnSync('python3', [
  '-c',
  `import importlib.util as u, sys; sys.exit(not all(u.find_spec(p) for p in ${JSON.stringify(packages)}))`,
]);
const skip = found.status !== 0;
const reason = skip ? ` (skipped: no Python with ${packages.join(', ')})` : '';
const home = temporaryFolder();

interface Answer {
  readonly weights: number;
  readonly elements: number;
  readonly whole: readonly (readonly number[])[];
  readonly steps: readonly (readonly number[])[];
}

const logSoftmax = (logits: readonly number[]): number[] => {
  const most = Math.max(...logits);
  const sum = Math.log(logits.reduce((total, z) => total + Math.exp(z - most), 0));
  return logits.map((z) => z - most - sum);
};
const worst = (a: readonly number[], b: ArrayLike<number>): number =>
  a.reduce((most, value, i) => Math.max(most, Math.abs(value - b[i]!)), 0);

test.skipIf(skip).each([
  ['f32', 1e-4],
  ['f16', 0.05],
] as const)(
  `a student in %s: checker, prompt and growing cache, whole run${reason}`,
  async (dtype, within) => {
    const student = join(home, `student-${dtype}`);
    const teacher = await openModel(bundled);
    await saveMixture(bundled, mixtures(teacher.architecture)['every kind']!, student);
    const ids = (await teacher.tokenizer()).encode('And the great shroud of the sea rolled on as it rolled.');
    await teacher.close();
    const out = await exported(student, dtype);
    const prompt = ids.length - 5;
    const { stdout } = await promisify(execFile)(
      'python3',
      ['test/interop/run-onnx.py', out, JSON.stringify([...ids]), String(prompt)],
      { maxBuffer: 2 ** 28 },
    );
    const answer = JSON.parse(stdout) as Answer;
    expect(answer.whole).toHaveLength(ids.length);
    expect(answer.elements).toBeGreaterThan(500_000);
    await onOurSide(student, async ({ next }) => {
      for (const [step, logits] of answer.steps.entries()) {
        const ours = await next(ids.slice(0, prompt + step));
        expect(worst(logSoftmax(logits), ours)).toBeLessThan(within);
        expect(worst(logSoftmax(answer.whole[prompt + step - 1]!), ours)).toBeLessThan(within);
      }
    });
  },
);

async function exported(path: string, dtype: ExportDtype): Promise<string> {
  const out = join(home, dtype);
  const source = await openExportSource(path);
  try {
    await exportModel(source, { format: 'onnx', out, dtype });
  } finally {
    await source.checkpoint.close();
  }
  return out;
}
