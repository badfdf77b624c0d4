/** Logits of every family against transformers. Skipped where Python or its packages are absent. */
import { execFile, spawnSync } from 'node:child_process';
import { readFileSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { beforeAll, expect, test } from 'vitest';
import { embed, forward, nextTokenLogProbabilities } from '../../src/execution/index.ts';
import { openTeacher } from '../../src/pipeline/teacher.ts';
import { temporaryFolder } from '../tensor/tensor-files.ts';

const packages = ['torch', 'transformers', 'safetensors'];
const found = spawnSync('python3', [
  '-c',
  `import importlib.util as u, sys; sys.exit(not all(u.find_spec(p) for p in ${JSON.stringify(packages)}))`,
]);
const skip = found.status !== 0;
const reason = skip ? ` (skipped: no Python with ${packages.join(', ')})` : '';

const folder = temporaryFolder();
beforeAll(async () => {
  if (skip) return;
  await promisify(execFile)('python3', ['test/interop/make-huggingface-models.py', folder]);
}, 600_000);

const families = ['llama', 'llama-rope-scaling', 'mistral-window', 'qwen2', 'qwen2-window', 'qwen3'];
const models = families.flatMap((family) => [`${family}-untied`, `${family}-tied`]);

test.skipIf(skip).each(models)(`%s gives the log-probabilities of transformers${reason}`, async (name) => {
  const { tokens, logits } = JSON.parse(readFileSync(join(folder, name, 'answer.json'), 'utf8')) as {
    tokens: number[];
    logits: number[][];
  };
  const teacher = await openTeacher(join(folder, name), { device: 'cpu', threads: 1 });
  const execution = await teacher.execution();
  const windows = { batch: 1, tokens: tokens.length };
  const embedded = await embed(execution, Int32Array.from(tokens), windows);
  const stream = await forward(execution, embedded, windows);
  for (const [row, expected] of logits.entries()) {
    const ours = await nextTokenLogProbabilities(execution, stream, row);
    const normaliser = Math.log(expected.reduce((sum, logit) => sum + Math.exp(logit), 0));
    const worst = Math.max(...expected.map((logit, token) => Math.abs(ours[token]! - (logit - normaliser))));
    expect(worst, `row ${row}`).toBeLessThan(1e-3);
  }
  await execution.runtime.release(embedded, stream);
  await teacher.close();
});

test.skipIf(skip)(`every model that was made is compared${reason}`, () => {
  expect(readdirSync(folder).sort()).toEqual(models.toSorted());
});
