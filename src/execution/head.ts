/**
 * The head: final norm, logits, and what is read off them. Rows go through in chunks on the device, so logits
 * (tokens, vocabulary) are never held whole and never reach the host.
 */
import { rmsNorm } from '../blocks/index.ts';
import {
  add,
  argMax,
  cast,
  concat,
  equal,
  fused,
  gather,
  gemm,
  greater,
  input,
  logSoftmax,
  mul,
  reduceSum,
  reshape,
  slice,
  softmax,
  sub,
  type Graph,
  type Value,
} from '../graph/index.ts';
import type { StreamConfig } from '../model/architecture.ts';
import type { Resident } from '../runtime/index.ts';
import type { Execution } from './execution.ts';
import { remembered } from './remembered.ts';

/** Logits held at once: 2^25 float32, 128 MiB. Below some 500 rows of a 49k vocabulary products get slower. */
const maximumChunkElements = 2 ** 25;

/**
 * A teacher's next-token distributions p, condensed: all that KL(p || q) needs of p for any student q of one head
 * matrix E, since sum_v p_v z_v = h . (sum_v p_v E_v) for logits z = E h.
 */
export interface Prediction {
  /** sum_v p_v E_v: (rows, width of E). */
  readonly expected: Resident;
  /** sum_v p_v log p_v: (rows). */
  readonly negativeEntropy: Resident;
  /** The likeliest token: (rows), int64. */
  readonly top1: Resident;
}

/** Per row, in nats. */
export interface Judgement {
  /** Log-probability of the row's target. */
  readonly logProbability: Float32Array;
  /** KL(teacher || student). */
  readonly kl?: Float32Array;
  /** 1 where the student's likeliest token is the teacher's. */
  readonly agreement?: Uint8Array;
  /** How many tokens the student holds likelier than the teacher's likeliest. */
  readonly rank?: Float32Array;
}

/**
 * Condenses a teacher's predictions, for students that have `head` as their head matrix.
 * @param x the teacher's stream after its last slot (rows, hidden); stays the caller's
 * @param head (vocabulary, width); the width need not be the teacher's
 */
export async function predict(
  teacher: Execution,
  x: Resident,
  head = teacher.stream.head,
): Promise<Prediction> {
  const { stream, runtime, worker, architecture } = teacher;
  const isOwn = head === stream.head;
  return runtime.run(
    predictionGraph(architecture.stream, x.shape[0]!, isOwn ? undefined : head.shape[1]!),
    { x, norm: stream.norm, head: stream.head, ...(!isOwn && { studentHead: head }) },
    { keep: ['expected', 'negativeEntropy', 'top1'], worker },
  );
}

export const releasePrediction = async (
  { runtime }: Execution,
  { expected, negativeEntropy, top1 }: Prediction,
): Promise<void> => runtime.release(expected, negativeEntropy, top1);

export interface JudgeOptions {
  /** Also find the rank of the teacher's likeliest token. */
  readonly ranks?: boolean;
}

/**
 * Scores a model's stream after its last slot against targets and, where given, a teacher's predictions.
 * @param x (rows, hidden); stays the caller's
 * @param targets the token that follows each row; the answer of a row without one is meaningless, any id will do
 */
export async function judge(
  model: Execution,
  x: Resident,
  targets: Int32Array,
  teacher?: Prediction,
  { ranks = false }: JudgeOptions = {},
): Promise<Judgement> {
  const { stream, runtime, worker, architecture } = model;
  const rows = x.shape[0]!;
  const result = await runtime.run(
    judgementGraph(architecture.stream, rows, {
      hasTeacher: teacher !== undefined,
      ranks: ranks && teacher !== undefined,
    }),
    {
      x,
      norm: stream.norm,
      head: stream.head,
      targets: { dtype: 'int32', shape: [rows], data: targets },
      ...(teacher && {
        expected: teacher.expected,
        negativeEntropy: teacher.negativeEntropy,
        top1: teacher.top1,
      }),
    },
    { worker },
  );
  const { logProbability, kl, agreement, rank } = result;
  return {
    logProbability: logProbability!.data as Float32Array,
    ...(teacher && { kl: kl!.data as Float32Array, agreement: agreement!.data as Uint8Array }),
    ...(rank && { rank: rank.data as Float32Array }),
  };
}

/**
 * Log-probabilities of every token after one row, on the host: (vocabulary).
 * @param x the stream after the last slot (rows, hidden); stays the caller's
 */
export async function nextTokenLogProbabilities(
  model: Execution,
  x: Resident,
  row: number,
): Promise<Float32Array> {
  const { stream, runtime, worker, architecture } = model;
  const { logProbabilities } = await runtime.run(
    nextTokenGraph(architecture.stream, x.shape[0]!),
    {
      x,
      norm: stream.norm,
      head: stream.head,
      row: { dtype: 'int32', shape: [1], data: Int32Array.of(row) },
    },
    { worker },
  );
  return logProbabilities!.data as Float32Array;
}

/** Inputs that every head graph has. */
export function headInputs(
  { hidden, vocabularySize }: StreamConfig,
  rows: number,
): { x: Value; norm: Value; head: Value } {
  return {
    x: input('x', 'float32', [rows, hidden]),
    norm: input('norm', 'float32', [hidden]),
    head: input('head', 'float32', [vocabularySize, hidden]),
  };
}

/** @param width of the student's head where that is another one */
const predictionGraph = (stream: StreamConfig, rows: number, width?: number): Graph =>
  remembered(['prediction', stream, rows, width], () => {
    const { x, norm, head } = headInputs(stream, rows);
    const studentHead = width && input('studentHead', 'float32', [stream.vocabularySize, width]);
    return inChunks(stream, rows, (part) => {
      const { normed, logits, logSumExp } = logitsOf(part(x), norm, head, stream);
      const p = softmax(logits); // (chunk, vocabulary)
      const own = gemm(p, head); // (chunk, vocabulary) x (vocabulary, hidden)
      const negativeEntropy = sub(dot(normed, own), logSumExp);
      return { expected: studentHead ? gemm(p, studentHead) : own, negativeEntropy, top1: argMax(logits) };
    });
  });

const judgementGraph = (
  stream: StreamConfig,
  rows: number,
  { hasTeacher, ranks }: { readonly hasTeacher: boolean; readonly ranks: boolean },
): Graph =>
  remembered(['judgement', stream, rows, hasTeacher, ranks], () => {
    const { x, norm, head } = headInputs(stream, rows);
    const targets = input('targets', 'int32', [rows]);
    const expected = input('expected', 'float32', x.shape);
    const negativeEntropy = input('negativeEntropy', 'float32', [rows]);
    const top1 = input('top1', 'int64', [rows]);
    return inChunks(stream, rows, (part) => {
      const { normed, logits, logSumExp } = logitsOf(part(x), norm, head, stream);
      const logProbability = sub(dot(normed, gather(head, part(targets))), logSumExp);
      if (!hasTeacher) return { logProbability };
      // sum_v p_v (log p_v - log q_v), with log q_v = z_v - logSumExp
      const kl = add(sub(part(negativeEntropy), dot(normed, part(expected))), logSumExp);
      const agreement = equal(argMax(logits), part(top1));
      return { logProbability, kl, agreement, ...(ranks && { rank: rankOf(part(top1), logits) }) };
    });
  });

const nextTokenGraph = (stream: StreamConfig, rows: number): Graph =>
  remembered(['next token', stream, rows], () => {
    const { x, norm, head } = headInputs(stream, rows);
    const { logits } = logitsOf(gather(x, input('row', 'int32', [1])), norm, head, stream);
    return { logProbabilities: reshape(logSoftmax(logits), [stream.vocabularySize]) };
  });

/** Logits of a chunk of the stream, and what they are made from. */
export function logitsOf(
  x: Value,
  norm: Value,
  head: Value,
  { normEpsilon }: StreamConfig,
): { normed: Value; logits: Value; logSumExp: Value } {
  const normed = rmsNorm(x, norm, normEpsilon); // (chunk, hidden)
  const logits = gemm(normed, head, { transposeB: true }); // (chunk, hidden) x (hidden, vocabulary)
  const first = (y: Value): Value => reshape(slice(y, 1, 0, 1), [x.shape[0]!]);
  // log sum_v exp z_v, read off the runtime's fused kernel at one column
  return { normed, logits, logSumExp: sub(first(logits), first(logSoftmax(logits))) };
}

/** How many logits of each row exceed the one at the row's id: (rows), (rows, vocabulary) -> (rows). */
function rankOf(ids: Value, logits: Value): Value {
  const column = [ids.shape[0]!, 1];
  const own = fused('', 'GatherElements', [logits, reshape(ids, column)], { axis: 1 }, [
    { dtype: logits.dtype, shape: column },
  ]);
  return reduceSum(cast(greater(logits, own), 'float32'), { axes: [1] });
}

/** Inner product of each row: (rows, n), (rows, n) -> (rows). */
const dot = (a: Value, b: Value): Value => reduceSum(mul(a, b), { axes: [1] });

/** Applies `body` to even runs of rows and joins each of its outputs along the first axis. */
export function inChunks(
  { vocabularySize }: StreamConfig,
  rows: number,
  body: (part: (x: Value) => Value) => Readonly<Record<string, Value>>,
): Readonly<Record<string, Value>> {
  const count = Math.ceil(rows / Math.max(1, Math.floor(maximumChunkElements / vocabularySize)));
  const bounds = Array.from({ length: count + 1 }, (_, i) => Math.round((i * rows) / count));
  const chunks = bounds.slice(1).map((end, i) => body((x) => slice(x, 0, bounds[i]!, end)));
  const join = (name: string): Value =>
    concat(
      chunks.map((chunk) => chunk[name]!),
      0,
    );
  return Object.fromEntries(Object.keys(chunks[0]!).map((name) => [name, join(name)]));
}
