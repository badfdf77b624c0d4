/**
 * Passes through a whole model, slot by slot and at the head: `npx tsx bench/forward.ts [MODEL]` writes
 * bench/results/forward.json. Best of several rounds; FLOPs are those of the products, attention counted in full.
 */
import { blockOf } from '../src/blocks/index.ts';
import {
  checkpointSource,
  closeExecution,
  embed,
  forward,
  judge,
  openExecution,
  predict,
  releasePrediction,
} from '../src/execution/index.ts';
import type { Execution, Windows } from '../src/execution/index.ts';
import { openModel } from '../src/model/index.ts';
import { openRuntime } from '../src/runtime/index.ts';
import { writeFileAtomically } from '../src/util/atomic-file.ts';
import { machine } from './machine.ts';

const path = process.argv[2] ?? '../shared/models/SmolLM2-135M-Instruct.Q4_1.gguf';
const rounds = 5;
const shapes: readonly Windows[] = [
  { batch: 6, tokens: 256 },
  { batch: 3, tokens: 512 },
  { batch: 6, tokens: 512 },
];

/** GFLOP of all slots for some windows. */
function slotsGflop({ architecture: { stream, slots } }: Execution, { batch, tokens }: Windows): number {
  const perToken = slots.flatMap(({ block }) =>
    blockOf(block)
      .operators(block, stream)
      .map((o) =>
        o.kind === 'gemm' ? 2 * o.n * o.k : o.kind === 'attention' ? 4 * tokens * o.heads * o.headDim : 0,
      ),
  );
  return (batch * tokens * perToken.reduce((sum, flops) => sum + flops, 0)) / 1e9;
}

const checkpoint = await openModel(path);
const runtime = await openRuntime({ device: 'cpu' });
const model = await openExecution(checkpointSource(checkpoint), runtime);
const { vocabularySize, hidden } = checkpoint.architecture.stream;
const results: Record<string, number | string>[] = [];
for (const windows of shapes) {
  const rows = windows.batch * windows.tokens;
  const ids = Int32Array.from({ length: rows }, (_, i) => (i * 7919) % vocabularySize);
  const best = { slotsMs: Infinity, predictMs: Infinity, judgeMs: Infinity };
  const timed = async <T>(name: keyof typeof best, run: () => Promise<T>): Promise<T> => {
    const start = performance.now();
    const result = await run();
    best[name] = Math.min(best[name], performance.now() - start);
    return result;
  };
  for (let round = 0; round < rounds; round++) {
    const first = await embed(model, ids, windows);
    const last = await timed('slotsMs', () => forward(model, first, windows));
    const prediction = await timed('predictMs', () => predict(model, last));
    await timed('judgeMs', () => judge(model, last, ids, prediction));
    await releasePrediction(model, prediction);
    await runtime.release(first, last);
  }
  const headGflop = (2 * rows * vocabularySize * hidden) / 1e9;
  const gflop = slotsGflop(model, windows) + headGflop;
  const result = {
    windows: `${windows.batch} x ${windows.tokens}`,
    slotsGflopPerSecond: Math.round((1000 * slotsGflop(model, windows)) / best.slotsMs),
    judgeGflopPerSecond: Math.round((1000 * headGflop) / best.judgeMs),
    predictGflopPerSecond: Math.round((2000 * headGflop) / best.predictMs),
    wholeGflopPerSecond: Math.round((1000 * gflop) / (best.slotsMs + best.judgeMs)),
    tokensPerSecond: Math.round((1000 * rows) / (best.slotsMs + best.judgeMs)),
  };
  results.push(result);
  console.log(result);
}
await closeExecution(model);
await runtime.close();
await checkpoint.close();
await writeFileAtomically(
  'bench/results/forward.json',
  `${JSON.stringify({ model: checkpoint.path, machine: machine(), results }, undefined, 2)}\n`,
);
