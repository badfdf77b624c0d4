/**
 * Decode rates of SmolLM2-135M and a heterogeneous student of it, ours and llama.cpp's in turn on the same weights and
 * threads: `npx tsx bench/generate.ts` writes bench/results/generate.{json,md}. The floor is the time to read every
 * weight once, at the bandwidth that a sum over a large tensor reaches.
 */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { availableParallelism, tmpdir } from 'node:os';
import { join } from 'node:path';
import { getLlama, LlamaLogLevel, type Token } from 'node-llama-cpp';
import { exportModel, openExportSource, type ExportDtype, type ExportFormat } from '../src/export/index.ts';
import { checkpointSource } from '../src/execution/index.ts';
import { openDecoder, openOnnxFolder, openSequences, type Decoder } from '../src/generate/index.ts';
import { graph, input, reduceSum } from '../src/graph/index.ts';
import { openModel } from '../src/model/index.ts';
import { openRuntime } from '../src/runtime/index.ts';
import { mixtures, saveMixture } from '../test/export/students.ts';
import { machine } from './machine.ts';

const teacherPath = process.argv[2] ?? '../shared/models/SmolLM2-135M-Instruct.Q4_1.gguf';
const prompt = 'The history of the whale fishery is long, and it begins';
const [rounds, steps] = [3, 16];

const home = mkdtempSync(join(tmpdir(), 'puzzle-generate-'));

async function exported(path: string, format: ExportFormat, dtype: ExportDtype): Promise<string> {
  const out = join(home, `${path.split('/').at(-1)}-${format}-${dtype}`);
  const source = await openExportSource(path);
  try {
    const { files } = await exportModel(source, { format, dtype, out });
    return format === 'gguf' ? join(out, files.find(({ name }) => name.endsWith('.gguf'))!.name) : out;
  } finally {
    await source.checkpoint.close();
  }
}

/** Milliseconds of each decoded token after the prompt. */
type Decode = (ids: readonly number[]) => Promise<number[]>;

interface Contender {
  readonly name: string;
  readonly decode: Decode;
  readonly milliseconds: number[];
}

const ours =
  (decoder: Decoder): Decode =>
  async (ids) => {
    const sequence = await openSequences(decoder, ids.length + steps);
    let logits = await sequence.append(ids);
    const times: number[] = [];
    for (let step = 0; step < steps; step++) {
      const start = performance.now();
      let best = 0;
      for (let token = 1; token < logits.length; token++) if (logits[token]! > logits[best]!) best = token;
      logits = await sequence.append([best]);
      times.push(performance.now() - start);
    }
    await sequence.close();
    return times;
  };

async function main(): Promise<void> {
  const student = join(home, 'student');
  const teacher = await openModel(teacherPath);
  await saveMixture(teacherPath, mixtures(teacher.architecture)['every kind']!, student);
  const ids = Array.from((await teacher.tokenizer()).encode(prompt));
  await teacher.close();
  const library = await getLlama({
    build: 'never',
    gpu: false,
    skipDownload: true,
    logLevel: LlamaLogLevel.error,
  });

  const results: object[] = [];
  const rows: string[] = [];
  for (const threads of new Set([1, availableParallelism()])) {
    const bandwidth = await bytesPerSecond(threads);
    for (const [name, path] of [
      ['teacher', teacherPath],
      ['student', student],
    ] as const) {
      const runtime = await openRuntime({ device: 'cpu', threads });
      const checkpoint = await openModel(path);
      const contenders: Contender[] = [];
      const add = (contender: string, decode: Decode): void =>
        void contenders.push({ name: contender, decode, milliseconds: [] });
      add('ours, straight from the model', ours(await openDecoder(checkpointSource(checkpoint), runtime)));
      await checkpoint.close();
      for (const dtype of ['f32', 'f16'] as const) {
        const { decoder } = await openOnnxFolder(await onnxOf(path, dtype), runtime);
        add(`ours, ONNX ${dtype}`, ours(decoder));
      }
      const disposables: { dispose(): Promise<void> }[] = [];
      for (const dtype of ['f32', 'f16'] as const) {
        const model = await library.loadModel({ modelPath: await ggufOf(path, dtype) });
        const context = await model.createContext({ contextSize: 256, batchSize: 64, threads });
        const sequence = context.getSequence();
        disposables.push(model);
        add(`llama.cpp ${dtype}`, async (tokens) => {
          await sequence.clearHistory();
          const times: number[] = [];
          let start = performance.now();
          for await (const _ of sequence.evaluate(tokens as Token[], { temperature: 0 })) {
            times.push(performance.now() - start);
            if (times.length > steps) break;
            start = performance.now();
          }
          return times.slice(1);
        });
      }
      for (let round = 0; round < rounds; round++) {
        for (const { decode, milliseconds } of contenders) milliseconds.push(...(await decode(ids)));
      }
      for (const { dispose } of disposables.map((model) => ({ dispose: () => model.dispose() })))
        await dispose();
      await runtime.close();
      const bytes = 4 * (await readPerToken(path));
      const floorMs = (1000 * bytes) / bandwidth;
      const best = Object.fromEntries(contenders.map((c) => [c.name, Math.min(...c.milliseconds)]));
      for (const contender of contenders) {
        const sorted = contender.milliseconds.toSorted((a, b) => a - b);
        const [leastMs, medianMs] = [sorted[0]!, sorted[sorted.length >> 1]!];
        const peer = best[contender.name.endsWith('f16') ? 'llama.cpp f16' : 'llama.cpp f32']!;
        const result = {
          model: name,
          threads,
          name: contender.name,
          leastMs,
          medianMs,
          tokensPerSecond: 1000 / leastMs,
          ofLlamaCpp: peer / leastMs,
          bytesPerToken: contender.name === 'llama.cpp f16' ? bytes / 2 : bytes,
          gigabytesPerSecond: bandwidth / 1e9,
          ofFloor: (contender.name === 'llama.cpp f16' ? floorMs / 2 : floorMs) / leastMs,
        };
        results.push(result);
        rows.push(
          `| ${name} | ${threads} | ${contender.name} | ${leastMs.toFixed(1)} | ${medianMs.toFixed(1)} | ${result.tokensPerSecond.toFixed(1)} | ${percent(result.ofLlamaCpp)} | ${percent(result.ofFloor)} |`,
        );
        console.log(rows.at(-1));
      }
    }
  }
  await library.dispose();
  writeFileSync(
    'bench/results/generate.json',
    `${JSON.stringify({ machine: machine(), prompt, rounds, steps, results }, undefined, 2)}\n`,
  );
  writeFileSync(
    'bench/results/generate.md',
    `# Decode rate on the CPU

Milliseconds a token after a prompt of ${ids.length} tokens, best and median of ${rounds * steps}, all contenders in turn.
"Of llama.cpp" is against its figure on the same element type. "Of the floor" is the time to read every weight once
at the bandwidth that a sum over 512 MB reaches, against the best time; our halves are widened when they are loaded, so
they read as much as float32.

| model | threads | | best ms | median ms | best tokens/s | of llama.cpp | of the floor |
|---|---|---|---|---|---|---|---|
${rows.join('\n')}

${JSON.stringify(machine())}
`,
  );
}

const percent = (share: number): string => `${Math.round(100 * share)} %`;

const made = new Map<string, Promise<string>>();
const once = async (path: string, format: ExportFormat, dtype: ExportDtype): Promise<string> => {
  const key = [path, format, dtype].join();
  const known = made.get(key) ?? exported(path, format, dtype);
  made.set(key, known);
  return known;
};
const onnxOf = (path: string, dtype: ExportDtype): Promise<string> => once(path, 'onnx', dtype);
const ggufOf = (path: string, dtype: ExportDtype): Promise<string> => once(path, 'gguf', dtype);

/** Elements of the weights that one token reads: all but the embedding, which is a row, unless it is the head. */
async function readPerToken(path: string): Promise<number> {
  const checkpoint = await openModel(path);
  const { stream, slots } = checkpoint.architecture;
  const size = (shape: readonly number[]): number => shape.reduce((a, b) => a * b, 1);
  const inSlots = slots.flatMap((_, slot) =>
    Object.values(checkpoint.slot(slot)).map(({ shape }) => size(shape)),
  );
  await checkpoint.close();
  return inSlots.reduce((a, b) => a + b, 0) + stream.vocabularySize * stream.hidden;
}

/** The best of some sums over 2^27 floats. */
async function bytesPerSecond(threads: number): Promise<number> {
  const runtime = await openRuntime({ device: 'cpu', threads });
  const [rows, columns] = [2 ** 9, 2 ** 18];
  const x = await runtime.upload({
    dtype: 'float32',
    shape: [rows, columns],
    data: new Float32Array(rows * columns).fill(1),
  });
  const sums = graph({ y: reduceSum(input('x', 'float32', [rows, columns]), { axes: [1] }) });
  let best = Infinity;
  for (let round = 0; round < 8; round++) {
    const start = performance.now();
    await runtime.run(sums, { x });
    best = Math.min(best, performance.now() - start);
  }
  await runtime.close();
  return (1000 * 4 * rows * columns) / best;
}

try {
  await main();
} finally {
  rmSync(home, { recursive: true, force: true });
}
