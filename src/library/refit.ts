/**
 * Refit of an assembled student, slot by slot on its own activations: each output matrix learns to make up for what the
 * blocks before it changed. The target is what leads the student's stream to the teacher's after the slot.
 */
import { cholesky, copy, matrix, solve, type Matrix } from '../algebra/index.ts';
import { blockOf, type Weights } from '../blocks/index.ts';
import { remember, runBlock, type Execution, type PlacedBlock } from '../execution/index.ts';
import { graph, input, sub } from '../graph/index.ts';
import type { TokenWindows } from '../model/index.ts';
import type { Tensor } from '../tensor/tensor.ts';
import { PuzzleError } from '../util/errors.ts';
import { silent, type ReportProgress } from '../util/progress.ts';
import { toMatrix, toTensor } from './closed-form.ts';
import { copies, downloadBlock } from './distil.ts';
import type { Moments } from './least-squares.ts';
import { moments } from './statistics.ts';
import { embedWindows, residentsOf, rowsOf, type StreamChunk, type StreamState } from './teacher-stream.ts';

export interface RefitOptions {
  /** Pull towards the weights as they are, relative to the mean diagonal of the Gram matrix. */
  readonly pull: number;
  /** Tokens that run through a block together. */
  readonly chunkTokens: number;
}

/** Weaker pulls fit the calibration text and lose on other text (.01 measured worse than .1). */
export const defaultRefitOptions: RefitOptions = { pull: 0.1, chunkTokens: 4096 };

export interface RefitJob {
  readonly teacher: Execution;
  /** Its blocks stay as they are. */
  readonly student: Execution;
  /** Text that blocks may be fitted on. */
  readonly text: TokenWindows;
  readonly options: RefitOptions;
  /** The weights of a slot that was refitted before; a run that was stopped goes on after it. */
  readonly known?: (slot: number) => Promise<Weights<Tensor<'float32'>> | undefined>;
  readonly report?: ReportProgress;
}

export interface RefittedSlot {
  readonly slot: number;
  readonly weights: Weights<Tensor<'float32'>>;
}

/** Yields, slot by slot, the weights of every block that has an output matrix; whoever uploads them uploads a copy. */
export async function* refitStudent(job: RefitJob): AsyncGenerator<RefittedSlot, void, void> {
  const { teacher, student, text, options, report = silent } = job;
  const { runtime } = teacher;
  const stage = 'refit';
  report({ kind: 'stage-started', stage, total: student.blocks.length, unit: 'slots' });
  let wanted = await embedWindows(teacher, text, options.chunkTokens);
  let own = await embedWindows(student, text, options.chunkTokens);
  let replaced: PlacedBlock['weights'] = {};
  try {
    for (const [slot, block] of student.blocks.entries()) {
      wanted = await after(teacher, teacher.blocks[slot]!, wanted);
      const { output } = blockOf(block.config);
      if (output === undefined) continue;
      let weights = await job.known?.(slot);
      if (weights === undefined) {
        const current = await downloadBlock(student, block);
        weights = { ...current, [output]: await refitOutput(job, block, current[output]!, own, wanted) };
        yield { slot, weights };
      }
      replaced = { [output]: await runtime.upload(copies(weights)[output]!, student.worker) };
      own = await after(student, { ...block, weights: { ...block.weights, ...replaced } }, own);
      await runtime.release(...Object.values(replaced));
      replaced = {};
      report({ kind: 'advanced', stage, done: slot + 1 });
    }
    report({ kind: 'stage-finished', stage });
  } finally {
    await runtime.release(...[...wanted, ...own].flatMap(residentsOf), ...Object.values(replaced));
  }
}

/** The states after a block; those before it are used up. */
async function after(
  model: Execution,
  block: PlacedBlock,
  states: readonly StreamState[],
): Promise<readonly StreamState[]> {
  if (blockOf(block.config).output === undefined) return states;
  const moved: StreamState[] = [];
  for (const { windows, before } of states) {
    const { stream } = await runBlock(model, block, before, windows, ['stream']);
    await model.runtime.release(before);
    moved.push({ windows, before: stream });
  }
  return moved;
}

async function refitOutput(
  { teacher, student, options: { pull } }: RefitJob,
  block: PlacedBlock,
  current: Tensor<'float32'>,
  own: readonly StreamState[],
  wanted: readonly StreamState[],
): Promise<Tensor<'float32'>> {
  const { runtime, worker } = teacher;
  const chunks: StreamChunk[] = [];
  try {
    for (const [index, { windows, before }] of own.entries()) {
      const { delta } = await runtime.run(
        differenceGraph(before.shape),
        { wanted: wanted[index]!.before, own: before },
        { keep: ['delta'], worker },
      );
      chunks.push({ windows, before, delta });
    }
    const tokens = chunks.reduce((sum, chunk) => sum + rowsOf(chunk), 0);
    const sums = await moments(student, block, { chunks, tokens });
    return toTensor(pulledLeastSquares(sums, toMatrix(current), pull));
  } finally {
    await runtime.release(...chunks.map(({ delta }) => delta));
  }
}

const differenceGraph = (shape: readonly number[]) =>
  remember(['difference', shape], () =>
    graph({ delta: sub(input('wanted', 'float32', shape), input('own', 'float32', shape)) }),
  );

/**
 * argmin_W sum ||y - W h||^2 + lambda ||W - W_0||^2 with lambda = `pull` times the mean diagonal of the Gram matrix:
 * W = (C + lambda W_0) (G + lambda I)^-1.
 */
export function pulledLeastSquares(
  { gram, cross }: Pick<Moments, 'gram' | 'cross'>,
  w0: Matrix,
  pull: number,
): Matrix {
  const n = gram.rows;
  let trace = 0;
  for (let i = 0; i < n; i++) trace += gram.data[i * (n + 1)]!;
  if (!Number.isFinite(trace))
    throw new PuzzleError('file-invalid', 'activations of the student are not finite', {
      fix: 'check the weights of the model for infinities and NaN',
    });
  if (trace === 0) return copy(w0);
  const lambda = (pull * trace) / n;
  const a = copy(gram);
  for (let i = 0; i < n; i++) a.data[i * (n + 1)]! += lambda;
  const b = matrix(cross.rows, n);
  for (let i = 0; i < b.data.length; i++) b.data[i] = cross.data[i]! + lambda * w0.data[i]!;
  const factor = cholesky(a);
  // With a pull of at least rounding size the matrix is positive definite whatever the text.
  if (factor === undefined) throw new RangeError('the pulled Gram matrix is not positive definite');
  return solve(factor, b);
}
