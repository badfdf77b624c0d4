/** The host's end of the thread that solves slots: started at the first call, kept, and no reason for a process to stay. */
import type { Worker } from 'node:worker_threads';
import { PuzzleError } from '../util/errors.ts';
import { startThread } from '../util/thread.ts';
import type { AlgebraReply } from './algebra-worker.ts';
import { sourceOf, type ClosedForm, type SlotProblem } from './closed-form.ts';

type Solved = readonly (ClosedForm | undefined)[];

interface Pending {
  readonly resolve: (solved: Solved) => void;
  readonly reject: (error: Error) => void;
}

interface Thread {
  readonly worker: Worker;
  /** In the order asked, which is the order of the answers. */
  readonly pending: Pending[];
}

let thread: Thread | undefined;

/**
 * `closedForms` away from the main thread. The problem's moments move there: the caller's matrices are detached.
 * @throws what `closedForms` throws; PuzzleError `worker-lost`
 */
export async function closedFormsInThread(problem: SlotProblem): Promise<Solved> {
  const { gram, inputs, teacher, alternatives } = problem;
  if (alternatives.every((config) => sourceOf(config, teacher.config) === undefined))
    return alternatives.map(() => undefined);
  const { worker, pending } = (thread ??= start());
  const moved = [gram, inputs?.gram, inputs?.cross].flatMap((m) => (m === undefined ? [] : [m.data.buffer]));
  return new Promise((resolve, reject) => {
    worker.postMessage(problem, moved as ArrayBuffer[]);
    pending.push({ resolve, reject });
    worker.ref(); // only work under way keeps the process alive
  });
}

function start(): Thread {
  const worker = startThread('./algebra-worker', import.meta.url);
  const pending: Pending[] = [];
  worker.on('message', (reply: AlgebraReply) => {
    const { resolve, reject } = pending.shift()!;
    if ('solved' in reply) resolve(reply.solved);
    else if ('failure' in reply) reject(new Error(reply.failure));
    else reject(new PuzzleError(reply.expected.code, reply.expected.message, reply.expected.context));
    if (pending.length === 0) worker.unref();
  });
  const lose = (cause: Error): void => {
    thread = undefined;
    const lost = new PuzzleError('worker-lost', `A worker thread ended unexpectedly: ${cause.message}.`, {
      fix: 'If memory ran out, close other programs.',
      cause,
    });
    for (const { reject } of pending.splice(0)) reject(lost);
  };
  worker.on('error', lose);
  worker.on('exit', (code) => lose(new Error(`exit code ${code}`)));
  return { worker, pending };
}
