/**
 * Refit of an assembled student, slot by slot on its own activations: each block learns to make up for what the blocks
 * before it changed. The target is what leads the student's stream to the teacher's after the slot.
 */
import { cholesky, copy, matrix, meanDiagonal, plusDiagonal, solve, type Matrix } from '../algebra/index.ts';
import { blockOf, type Weights } from '../blocks/index.ts';
import { placeBlock, releaseBlock, remember, type Execution, type PlacedBlock } from '../execution/index.ts';
import { graph, input, sub } from '../graph/index.ts';
import type { TokenWindows } from '../model/index.ts';
import type { Tensor } from '../tensor/tensor.ts';
import { PuzzleError } from '../util/errors.ts';
import { silent, type ReportProgress } from '../util/progress.ts';
import { toMatrix, toTensor } from './closed-form.ts';
import { copies, downloadBlock } from './distil.ts';
import type { Moments } from './least-squares.ts';
import { moments } from './statistics.ts';
import {
  embedWindows,
  residentsOf,
  rowsOf,
  skip,
  type StreamChunk,
  type StreamState,
} from './teacher-stream.ts';

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

/** The text on its way through teacher and student. */
interface Way {
  readonly wanted: readonly StreamState[];
  readonly own: readonly StreamState[];
}

/** Yields, slot by slot, the weights of every block that has an output matrix; whoever uploads them uploads a copy. */
export async function* refitStudent(job: RefitJob): AsyncGenerator<RefittedSlot, void, void> {
  const { teacher, student, text, options, report = silent } = job;
  const stage = 'refit';
  report({ kind: 'stage-started', stage, total: student.blocks.length, unit: 'slots' });
  let wanted: readonly StreamState[] = [];
  let own: readonly StreamState[] = [];
  try {
    wanted = await embedWindows(teacher, text, options.chunkTokens);
    own = await embedWindows(student, text, options.chunkTokens);
    for (const [slot, block] of student.blocks.entries()) {
      wanted = await skip(teacher, teacher.blocks[slot]!, wanted);
      if (blockOf(block.config).output === undefined) continue;
      const known = await job.known?.(slot);
      const weights = known ?? (await refitBlock(student, block, { wanted, own }, options));
      if (known === undefined) yield { slot, weights };
      const placed = await placeBlock(student, block.config, copies(weights));
      own = await skip(student, placed, own);
      await releaseBlock(student, placed);
      report({ kind: 'advanced', stage, done: slot + 1 });
    }
    report({ kind: 'stage-finished', stage });
  } finally {
    await teacher.runtime.release(...[...wanted, ...own].flatMap(residentsOf));
  }
}

/** The block with its output matrix in closed form. */
async function refitBlock(
  student: Execution,
  block: PlacedBlock,
  way: Way,
  { pull }: RefitOptions,
): Promise<Weights<Tensor<'float32'>>> {
  const output = blockOf(block.config).output!;
  const chunks = await targetsOf(student, way);
  try {
    const tokens = chunks.reduce((sum, chunk) => sum + rowsOf(chunk), 0);
    const current = await downloadBlock(student, block);
    const sums = await moments(student, block, { chunks, tokens }, 'stream');
    return { ...current, [output]: toTensor(pulledLeastSquares(sums, toMatrix(current[output]!), pull)) };
  } finally {
    await student.runtime.release(...chunks.map(({ delta }) => delta));
  }
}

/** The student's stream, and what would lead it to the teacher's after the slot. */
async function targetsOf(
  { runtime, worker }: Execution,
  { own, wanted }: Way,
): Promise<readonly StreamChunk[]> {
  const chunks: StreamChunk[] = [];
  for (const [index, { windows, before }] of own.entries()) {
    const { delta } = await runtime.run(
      differenceGraph(before.shape),
      { wanted: wanted[index]!.before, own: before },
      { keep: ['delta'], worker },
    );
    chunks.push({ windows, before, delta });
  }
  return chunks;
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
  const mean = meanDiagonal(gram);
  if (!Number.isFinite(mean))
    throw new PuzzleError('file-invalid', 'activations of the student are not finite', {
      fix: 'check the weights of the model for infinities and NaN',
    });
  if (mean === 0) return copy(w0);
  const lambda = pull * mean;
  const b = matrix(cross.rows, cross.columns);
  for (let i = 0; i < b.data.length; i++) b.data[i] = cross.data[i]! + lambda * w0.data[i]!;
  const factor = cholesky(plusDiagonal(gram, lambda));
  // With a pull of at least rounding size the matrix is positive definite whatever the text.
  if (factor === undefined) throw new RangeError('the pulled Gram matrix is not positive definite');
  return solve(factor, b);
}
