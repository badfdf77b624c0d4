/**
 * How much each direction of a slot's output matters to the teacher's predictions: S = E g g^T, the Fisher matrix of the
 * predictions carried back to the stream after the slot. Blocks that cannot reproduce all of the output should keep
 * what is large in this metric, not what is large.
 */
import { matrix, type Matrix } from '../algebra/index.ts';
import { descend, remember, type Execution } from '../execution/index.ts';
import { gemm, graph, input } from '../graph/index.ts';
import type { TokenWindows } from '../model/index.ts';
import { silent, type ReportProgress } from '../util/progress.ts';
import { addTo } from './statistics.ts';

export interface SlotSensitivity {
  readonly slot: number;
  /** Mean of g g^T over tokens: (hidden, hidden). */
  readonly metric: Matrix;
}

/** One forward and one backward pass; yields from the last slot to the first. */
export async function* sensitivities(
  teacher: Execution,
  text: TokenWindows,
  seed: number,
  report: ReportProgress = silent,
): AsyncGenerator<SlotSensitivity, void, void> {
  const { runtime, worker, architecture } = teacher;
  const { hidden } = architecture.stream;
  const stage = 'sensitivity';
  report({ kind: 'stage-started', stage, total: teacher.blocks.length, unit: 'slots' });
  for await (const { slot, passes } of descend(teacher, text, seed)) {
    const metric = matrix(hidden, hidden);
    let tokens = 0;
    for (const { windows, gradient } of passes) {
      const { gram } = await runtime.run(gramGraph(gradient.shape), { gradient }, { worker });
      addTo(metric.data, gram!);
      tokens += windows.batch * windows.tokens;
    }
    for (let i = 0; i < metric.data.length; i++) metric.data[i]! /= tokens;
    yield { slot, metric };
    report({ kind: 'advanced', stage, done: teacher.blocks.length - slot });
  }
  report({ kind: 'stage-finished', stage });
}

const gramGraph = (shape: readonly number[]) =>
  remember(['gradient gram', shape], () => {
    const g = input('gradient', 'float32', shape); // (rows, hidden)
    return graph({ gram: gemm(g, g, { transposeA: true }) });
  });
