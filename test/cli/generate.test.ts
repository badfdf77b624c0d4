import { spawn } from 'node:child_process';
import { cp, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { exportModel, openExportSource } from '../../src/export/index.ts';
import { puzzleCommand, runPuzzle, type Outcome } from './run-puzzle.ts';

const teacher = 'models/moby-2m';
let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'puzzle-generate-'));
});
afterAll(async () => rm(folder, { recursive: true, force: true }));

test('an exported ONNX folder says what the model says, streaming, with both rates on stderr', async () => {
  const out = join(folder, 'onnx');
  const source = await openExportSource(teacher);
  await exportModel(source, { format: 'onnx', out });
  await source.checkpoint.close();
  const options = ['--prompt', 'Call me Ishmael. Some', '--max-tokens', '12', '--threads', '1'];
  const [direct, exported] = await Promise.all([
    runPuzzle('generate', teacher, ...options, '--json'),
    runPuzzle('generate', out, ...options),
  ]);
  const document = JSON.parse(direct.stdout);
  const phase = {
    tokens: expect.any(Number),
    milliseconds: expect.any(Number),
    tokensPerSecond: expect.any(Number),
  };
  expect(document).toEqual({
    schema: 'puzzle/generation@1',
    model: teacher,
    prompt: 'Call me Ishmael. Some',
    text: expect.any(String),
    tokens: expect.any(Array),
    stop: 'max-tokens',
    prefill: phase,
    decode: { ...phase, tokens: 11 },
  });
  expect(document.tokens).toHaveLength(12);
  expect(exported.stdout).toBe(`${document.text}\n`);
  expect(exported.stderr).toMatch(/prefill \d+ tokens in .* tokens\/s\); decode 11 tokens in .* tokens\/s\)/);
});

test('Ctrl-C ends between two tokens: the text so far, the rates, exit code 130', async () => {
  // The teacher with a context that takes it seconds to fill.
  const long = join(folder, 'long');
  await cp(teacher, long, { recursive: true });
  const config = JSON.parse(await readFile(join(teacher, 'config.json'), 'utf8')) as object;
  await writeFile(join(long, 'config.json'), JSON.stringify({ ...config, max_position_embeddings: 16_384 }));
  const outcome = await interruptedAfterFirstText(
    'generate',
    long,
    '--prompt',
    'Sea',
    '--max-tokens',
    '16000',
  );
  expect(outcome.code).toBe(130);
  expect(outcome.stdout.endsWith('\n')).toBe(true);
  expect(outcome.stderr).toMatch(/tokens\/s\); ended by interrupted/);
});

function interruptedAfterFirstText(...args: readonly string[]): Promise<Outcome> {
  const [program, ...rest] = puzzleCommand(...args);
  const child = spawn(program!, rest);
  const output = { stdout: '', stderr: '' };
  return new Promise((resolve) => {
    child.stdout.on('data', (chunk: Buffer) => {
      if (output.stdout === '') child.kill('SIGINT');
      output.stdout += chunk.toString();
    });
    child.stderr.on('data', (chunk: Buffer) => (output.stderr += chunk.toString()));
    child.on('close', (code) => resolve({ code: code ?? -1, ...output }));
  });
}

const refusals = [
  { args: [teacher, '--prompt', ''], code: 'text-invalid', at: '--prompt' },
  { args: [teacher, '--prompt', 'so it goes '.repeat(300)], code: 'text-invalid', at: '--prompt' },
  { args: [teacher, '--prompt', 'x', '--temperature', '-1'], code: 'bad-usage', at: '--temperature' },
  { args: [teacher, '--prompt', 'x', '--max-tokens', '1.5'], code: 'bad-usage', at: '--max-tokens' },
] as const;

test('what is wrong is named', async () => {
  const outcomes = await Promise.all(
    refusals.map(async ({ args }) => runPuzzle('generate', ...args, '--json')),
  );
  for (const [index, { code, at }] of refusals.entries()) {
    const { code: exit, stdout } = outcomes[index]!;
    expect([exit, JSON.parse(stdout).error]).toMatchObject([2, { code, at }]);
  }
});
