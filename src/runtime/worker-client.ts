/** The host's end of one worker thread: sends requests, matches replies, notices its death. */
import type { Worker } from 'node:worker_threads';
import { errorCodes, PuzzleError } from '../util/errors.ts';
import { startThread } from '../util/thread.ts';
import type { Device } from './device.ts';
import {
  Activity,
  type Answer,
  type Envelope,
  type Reply,
  type Request,
  type WorkerOptions,
} from './protocol.ts';

export interface WorkerClientOptions {
  readonly device: Device;
  readonly threads: number;
  /** Called whenever the last answer is in. */
  readonly onIdle?: () => void;
}

interface Pending {
  readonly resolve: (answer: Answer) => void;
  readonly reject: (error: Error) => void;
}

export class WorkerClient {
  readonly #worker: Worker;
  readonly #pending = new Map<number, Pending>();
  readonly #exited: Promise<void>;
  readonly #onIdle: () => void;
  #nextId = 0;
  #lost: Error | undefined;

  constructor({ device, threads, onIdle = () => {} }: WorkerClientOptions) {
    const activity = new SharedArrayBuffer(Activity.bytes);
    new Int32Array(activity)[Activity.serving] = 1; // loading the native library counts, the worker resets it
    this.#onIdle = onIdle;
    this.#worker = startThread('./worker', import.meta.url, {
      device,
      threads,
      activity,
    } satisfies WorkerOptions);
    this.#worker.on('message', (reply: Reply) => this.#settle(reply));
    this.#worker.on('error', (cause) => this.#lose(cause));
    activities.add(activity);
    this.#exited = new Promise((resolve) => {
      this.#worker.on('exit', (code) => {
        activities.delete(activity);
        this.#lose(new Error(`exit code ${code}`));
        resolve();
      });
    });
    // Only work under way keeps the process alive, so a runtime left open after a failure does not hang it.
    this.#worker.unref();
  }

  /** Whether every request is answered. */
  get isIdle(): boolean {
    return this.#pending.size === 0;
  }

  /** Sends a request; a worker serves requests in the order sent. */
  async send(request: Request, transfer: readonly ArrayBuffer[] = []): Promise<Answer> {
    if (this.#lost !== undefined) throw this.#lost;
    const id = this.#nextId++;
    return new Promise((resolve, reject) => {
      this.#worker.postMessage({ id, request } satisfies Envelope, transfer);
      this.#pending.set(id, { resolve, reject });
      this.#worker.ref();
    });
  }

  /** Ends the thread after the requests already sent. */
  async close(): Promise<void> {
    if (this.#lost === undefined) await this.send({ kind: 'close' });
    this.#worker.ref(); // its end is waited for, though no request is open
    await this.#exited;
  }

  #settle(reply: Reply): void {
    const pending = this.#pending.get(reply.id);
    this.#pending.delete(reply.id);
    if ('answer' in reply) pending?.resolve(reply.answer);
    else pending?.reject(failureOf(reply.failure));
    if (!this.isIdle) return;
    this.#worker.unref();
    this.#onIdle();
  }

  #lose(cause: Error): void {
    this.#lost ??= new PuzzleError('worker-lost', `A worker thread ended unexpectedly: ${cause.message}.`, {
      fix: 'If memory ran out, use fewer workers or fewer tokens at a time.',
      cause,
    });
    for (const { reject } of this.#pending.values()) reject(this.#lost);
    this.#pending.clear();
  }
}

/** What ONNX Runtime and V8 say when an allocation fails. */
const outOfMemory = /bad_alloc|failed to allocate|allocation failed|out of memory/i;

const failureOf = (message: string): Error =>
  outOfMemory.test(message)
    ? new PuzzleError('out-of-memory', `Memory ran out: ${message}`, {
        fix: 'Use fewer tokens at a time, or a smaller model.',
      })
    : new Error(message);

/** The flags of every live worker. */
const activities = new Set<SharedArrayBuffer>();

/** How long an exit waits for native calls under way; after Ctrl-C, and else. */
const patienceMs = { interrupted: 2000, otherwise: 60_000 } as const;

// Node ends worker threads when the process exits, and a thread that is inside ONNX Runtime then aborts the process
// with another exit code. So an exit waits for the calls under way, and no further ones start. When that takes too
// long the signal of Ctrl-C itself ends the process, which shells report as exit code 130.
process.on('exit', (code) => {
  const flags = [...activities].map((activity) => new Int32Array(activity));
  for (const flag of flags) Atomics.store(flag, Activity.stopping, 1);
  const patience = code === errorCodes.interrupted ? patienceMs.interrupted : patienceMs.otherwise;
  const outcomes = flags.map((flag) => Atomics.wait(flag, Activity.serving, 1, patience));
  if (!outcomes.includes('timed-out')) return;
  process.removeAllListeners('SIGINT');
  process.kill(process.pid, 'SIGINT');
});
