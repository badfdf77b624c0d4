/**
 * Exports of SmolLM2-135M students, `npx tsx bench/export.ts`: seconds and peak memory of each in a process of its own;
 * then what llama.cpp makes of the files against our own forward. Writes bench/results/export.{json,md}.
 */
import { execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { exportModel, openExportSource, type ExportDtype, type ExportFormat } from '../src/export/index.ts';
import { openModel } from '../src/model/index.ts';
import { greedyAgreement, onOurSide, worstOfTop } from '../test/export/our-side.ts';
import { mixtures, saveMixture } from '../test/export/students.ts';
import {
  closeLibrary,
  greedyContinuation,
  inLlamaCpp,
  nextLogProbabilities,
  tokenLogProbabilities,
} from '../test/interop/llama-cpp-library.ts';
import { machine } from './machine.ts';

const teacherPath = '../shared/models/SmolLM2-135M-Instruct.Q4_1.gguf';
const textPaths = ['../shared/data/wikitext-2-valid.txt', '../shared/data/textbook-sociology-evaluation.txt'];
/** Sizes of the texts that are compared: tokens and number of short ones, and of the windows of perplexity. */
const [textTokens, textCount, window, windows] = [48, 20, 128, 3];
const self = fileURLToPath(import.meta.url);

interface Measured {
  readonly seconds: number;
  readonly cpuSeconds: number;
  readonly peakBytes: number;
  readonly bytes: number;
  readonly path: string;
}

const [flag, ...job] = process.argv.slice(2);
if (flag === '--one') process.stdout.write(JSON.stringify(await exportOne(job)));
else await main();

/** In a process of its own: nothing else is in its memory. */
async function exportOne([path, format, dtype, out]: readonly string[]): Promise<Measured> {
  const start = performance.now();
  const source = await openExportSource(path!);
  const { files } = await exportModel(source, {
    format: format as ExportFormat,
    dtype: dtype as ExportDtype,
    out: out!,
  });
  await source.checkpoint.close();
  const { userCPUTime, systemCPUTime, maxRSS } = process.resourceUsage();
  const weights = files.find(({ name }) => /\.(?:gguf|safetensors)$/.test(name))!;
  return {
    seconds: (performance.now() - start) / 1000,
    cpuSeconds: (userCPUTime + systemCPUTime) / 1e6,
    peakBytes: maxRSS * 1024,
    bytes: weights.bytes,
    path: join(out!, weights.name),
  };
}

async function main(): Promise<void> {
  const home = mkdtempSync(join(tmpdir(), 'puzzle-export-'));
  try {
    const teacher = await openModel(teacherPath);
    const students = mixtures(teacher.architecture);
    await teacher.close();
    const student = join(home, 'every-kind');
    await saveMixture(teacherPath, students['every kind']!, student);
    const studentBytes = statSync(join(student, 'model.safetensors')).size;
    const exports = Object.fromEntries(
      [
        ['gguf', 'f32'],
        ['gguf', 'f16'],
        ['gguf', 'q4_0'],
        ['hf', 'bf16'],
      ].map(([format, dtype]) => [`${format} ${dtype}`, inProcess(student, format!, dtype!, home)]),
    );
    console.table(exports);
    const agreements = {
      'teacher, f32': await compare(teacherPath, inProcess(teacherPath, 'gguf', 'f32', home, 'teacher').path),
      'every kind of block, f32': await compare(student, exports['gguf f32']!.path),
      'every kind of block, f16': await compare(student, exports['gguf f16']!.path),
    };
    console.table(agreements);
    await closeLibrary();
    write({ machine: machine(), studentBytes, exports, agreements });
  } finally {
    rmSync(home, { recursive: true, force: true });
  }
}

function inProcess(path: string, format: string, dtype: string, home: string, name = 'student'): Measured {
  const loader = join(process.cwd(), 'node_modules/tsx/dist/esm/index.mjs');
  const out = join(home, `${name}-${format}-${dtype}`);
  const text = execFileSync(process.execPath, ['--import', loader, self, '--one', path, format, dtype, out]);
  return JSON.parse(text.toString()) as Measured;
}

interface Agreement {
  /** Largest difference of a log-probability among llama.cpp's 100 likeliest next tokens of 20 texts. */
  readonly worstOfTop100: number;
  /** Tokens of 64 greedy ones before the first that differs. */
  readonly greedyTokens: number;
  readonly ourPerplexity: number;
  readonly theirPerplexity: number;
}

async function compare(path: string, gguf: string): Promise<Agreement> {
  return onOurSide(path, async (ours) => {
    const tokenizer = await ours.checkpoint.tokenizer();
    const texts = textPaths.flatMap((textPath) => {
      const text = readFileSync(textPath, 'utf8');
      return Array.from({ length: textCount / textPaths.length }, (_, i) =>
        tokenizer.encode(text.slice(20_000 * (i + 1), 20_000 * (i + 1) + 1000), textTokens),
      );
    });
    const sample = tokenizer.encode(
      readFileSync(textPaths[0]!, 'utf8').slice(20_000, 60_000),
      window * windows,
    );
    return inLlamaCpp(gguf, {}, async (model) => {
      const differences: number[] = [];
      for (const text of texts) {
        const [theirs] = await nextLogProbabilities(model, text, true);
        differences.push(worstOfTop(await ours.next(text), theirs!, 100));
      }
      const continuation = await greedyContinuation(model, texts[0]!, 64);
      const all: number[] = [];
      for (let start = 0; start < sample.length; start += window)
        all.push(...(await tokenLogProbabilities(model, sample.slice(start, start + window))));
      return {
        worstOfTop100: Math.max(...differences),
        greedyTokens: await greedyAgreement(ours, texts[0]!, continuation),
        ourPerplexity: await ours.perplexity(sample, window),
        theirPerplexity: Math.exp(-all.reduce((a, b) => a + b) / all.length),
      };
    });
  });
}

interface Results {
  readonly machine: ReturnType<typeof machine>;
  readonly studentBytes: number;
  readonly exports: Readonly<Record<string, Measured>>;
  readonly agreements: Readonly<Record<string, Agreement>>;
}

function write(results: Results): void {
  const { machine: on, studentBytes, exports, agreements } = results;
  const mebi = (bytes: number): string => (bytes / 2 ** 20).toFixed(0);
  const line = (cells: readonly string[]): string => `| ${cells.join(' | ')} |`;
  const table = (head: readonly string[], rows: readonly (readonly string[])[]): string =>
    [head, head.map(() => '---'), ...rows].map(line).join('\n');
  const markdown = [
    '# Exports of a SmolLM2-135M student that holds every kind of block',
    `The student is ${mebi(studentBytes)} MiB as float32. Each export ran in a process of its own.`,
    table(
      ['export', 'seconds', 'CPU seconds', 'file, MiB', 'peak memory, MiB', 'of the student'],
      Object.entries(exports).map(([name, { seconds, cpuSeconds, bytes, peakBytes }]) => [
        name,
        seconds.toFixed(1),
        cpuSeconds.toFixed(1),
        mebi(bytes),
        mebi(peakBytes),
        (peakBytes / studentBytes).toFixed(2),
      ]),
    ),
    '## In llama.cpp (node-llama-cpp, CPU, f16 KV cache), against our own float32 forward',
    table(
      [
        'model',
        'worst of top-100 log-probabilities, 20 texts',
        'equal greedy tokens of 64',
        'our perplexity',
        "llama.cpp's",
        'difference',
      ],
      Object.entries(agreements).map(([name, found]) => [
        name,
        found.worstOfTop100.toFixed(4),
        String(found.greedyTokens),
        found.ourPerplexity.toFixed(4),
        found.theirPerplexity.toFixed(4),
        `${(100 * (found.theirPerplexity / found.ourPerplexity - 1)).toFixed(3)} %`,
      ]),
    ),
    `Texts: last of ${textTokens} tokens at ${textCount} places of WikiText-2 and of a sociology textbook; perplexity: ${windows} windows of ${window} tokens of WikiText-2.`,
    JSON.stringify(on),
    '',
  ].join('\n\n');
  writeFileSync('bench/results/export.json', `${JSON.stringify(results, undefined, 2)}\n`);
  writeFileSync('bench/results/export.md', markdown);
}
