/** The host's end of one worker thread: sends requests, matches replies, notices its death. */
import { Worker } from 'node:worker_threads';
import { PuzzleError } from '../util/errors.ts';
import type { Answer, Envelope, Reply, Request, WorkerOptions } from './protocol.ts';

interface Pending {
  readonly resolve: (answer: Answer) => void;
  readonly reject: (error: Error) => void;
}

export class WorkerClient {
  readonly #worker: Worker;
  readonly #pending = new Map<number, Pending>();
  readonly #exited: Promise<void>;
  #nextId = 0;
  #lost: Error | undefined;

  constructor(options: WorkerOptions) {
    this.#worker = startWorker(options);
    this.#worker.on('message', (reply: Reply) => this.#settle(reply));
    this.#worker.on('error', (cause) => this.#fail(cause));
    this.#exited = new Promise((resolve) => {
      this.#worker.on('exit', (code) => {
        this.#fail(new Error(`exit code ${code}`));
        resolve();
      });
    });
    // Only work under way keeps the process alive, so a runtime left open after a failure does not hang it.
    this.#worker.unref();
  }

  /** Requests sent and not yet answered. */
  get load(): number {
    return this.#pending.size;
  }

  /** Sends a request; those of one worker are served in the order sent. */
  async send(request: Request, transfer: readonly ArrayBuffer[] = []): Promise<Answer> {
    if (this.#lost !== undefined) throw this.#lost;
    const id = this.#nextId++;
    return new Promise((resolve, reject) => {
      this.#worker.postMessage({ id, request } satisfies Envelope, transfer);
      this.#worker.ref();
      this.#pending.set(id, { resolve, reject });
    });
  }

  /** Ends the thread after the requests already sent. */
  async close(): Promise<void> {
    if (this.#lost === undefined) await this.send({ kind: 'close' });
    this.#worker.ref();
    await this.#exited;
  }

  #settle(reply: Reply): void {
    const pending = this.#pending.get(reply.id);
    this.#pending.delete(reply.id);
    if (this.#pending.size === 0) this.#worker.unref();
    if ('answer' in reply) pending?.resolve(reply.answer);
    else pending?.reject(new Error(reply.failure));
  }

  #fail(cause: Error): void {
    this.#lost ??= new PuzzleError('worker-lost', `A worker thread ended unexpectedly: ${cause.message}.`, {
      fix: 'If memory ran out, use a smaller model, fewer workers or fewer tokens at a time.',
      cause,
    });
    for (const { reject } of this.#pending.values()) reject(this.#lost);
    this.#pending.clear();
  }
}

/** Compiled code stands beside us as JavaScript; sources run directly (tests, bench) need tsx in the thread too. */
function startWorker(workerData: WorkerOptions): Worker {
  if (!import.meta.url.endsWith('.ts'))
    return new Worker(new URL('./worker.js', import.meta.url), { workerData });
  const tsx = import.meta.resolve('tsx/esm/api');
  const source = new URL('./worker.ts', import.meta.url).href;
  const start = `import('${tsx}').then(({ register }) => { register(); return import('${source}'); })`;
  return new Worker(start, { eval: true, workerData });
}
