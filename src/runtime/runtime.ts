/** Runs graphs on a device: worker threads own the sessions, the host thread hands out work and stays free. */
import { availableParallelism } from 'node:os';
import type { DType, Shape, Tensor } from '../tensor/tensor.ts';
import type { Device } from './device.ts';
import type { Graph } from '../graph/index.ts';
import { checkFeeds, programOf, type Program } from './program.ts';
import type { Answer, ResidentId } from './protocol.ts';
import { WorkerClient } from './worker-client.ts';

/** Compiled sessions a worker keeps; the least recently used one makes room. */
const maximumPrograms = 64;

export interface RuntimeOptions {
  readonly device: Device;
  /** Worker threads. One with all cores is fastest for large products; more serve many small independent jobs. */
  readonly workers?: number;
  /** Threads one operator may use in each worker; default: the cores, shared among the workers. */
  readonly threads?: number;
}

/** A tensor that stays in a worker, until it is released. */
export interface Resident {
  readonly id: ResidentId;
  readonly worker: number;
  readonly dtype: DType;
  readonly shape: Shape;
}

export interface RunOptions<K extends string = never> {
  /** Outputs that stay in the worker. */
  readonly keep?: readonly K[];
  /** The worker to run in; default: the one that holds the resident feeds, else the first one free. */
  readonly worker?: number;
  /** Move the host tensors among the feeds instead of copying them: their buffers are detached. */
  readonly transfer?: boolean;
}

/** Outputs by name: kept ones as residents, all others as tensors. */
export type RunResult<K extends string = never> = { readonly [name in K]: Resident } & {
  readonly [name: string]: Tensor;
};

export interface Runtime {
  readonly device: Device;
  readonly workers: number;
  /** Distinct compiled programs held now, summed over the workers. */
  readonly programs: number;
  /** Tensors that are resident now: those uploaded or kept, and not released. */
  readonly residents: number;
  /** Moves a tensor into a worker (default: the first). The caller's buffer is detached where it is not shared. */
  upload(tensor: Tensor, worker?: number): Promise<Resident>;
  /**
   * Runs a graph. Its session is compiled at first use and kept by content. Host feeds are read when the job starts:
   * leave them unchanged until it resolves.
   * @throws RangeError when feeds do not fit; Error with the graph's name when the device fails.
   */
  run<const K extends string = never>(
    graph: Graph,
    feeds: Readonly<Record<string, Tensor | Resident>>,
    options?: RunOptions<K>,
  ): Promise<RunResult<K>>;
  /** A copy of a resident tensor. */
  download(resident: Resident): Promise<Tensor>;
  /** Frees residents; using them afterwards is an error. */
  release(...residents: readonly Resident[]): Promise<void>;
  /** Waits for the work already started, then frees everything. */
  close(): Promise<void>;
}

export async function openRuntime(options: RuntimeOptions): Promise<Runtime> {
  return new WorkerRuntime(options);
}

interface Place {
  readonly index: number;
  readonly client: WorkerClient;
  /** Program hashes compiled in this worker, least recently used first. */
  readonly programs: Set<string>;
}

interface Job {
  readonly start: (place: Place) => Promise<void>;
  readonly reject: (error: Error) => void;
}

class WorkerRuntime implements Runtime {
  readonly device: Device;
  readonly #places: readonly Place[];
  readonly #residents = new Set<Resident>();
  readonly #queue: Job[] = [];
  #nextResident = 0;

  constructor({ device, workers = 1, threads }: RuntimeOptions) {
    this.device = device;
    const share = Math.max(1, Math.floor(availableParallelism() / workers));
    this.#places = Array.from({ length: workers }, (_, index) => ({
      index,
      client: new WorkerClient({ device, threads: threads ?? share }),
      programs: new Set<string>(),
    }));
  }

  get workers(): number {
    return this.#places.length;
  }

  get programs(): number {
    return this.#places.reduce((sum, { programs }) => sum + programs.size, 0);
  }

  get residents(): number {
    return this.#residents.size;
  }

  async upload(tensor: Tensor, worker = 0): Promise<Resident> {
    const { client } = this.#place(worker);
    const { dtype, shape } = tensor;
    const resident: Resident = { id: this.#nextResident++, worker, dtype, shape };
    const moved = movable(tensor);
    await client.send({ kind: 'upload', resident: resident.id, tensor: moved }, [bufferOf(moved)]);
    this.#residents.add(resident);
    return resident;
  }

  async run<const K extends string = never>(
    graph: Graph,
    feeds: Readonly<Record<string, Tensor | Resident>>,
    options: RunOptions<K> = {},
  ): Promise<RunResult<K>> {
    const program = programOf(graph);
    checkFeeds(program, feeds);
    const unknown = options.keep?.find((name) => program.outputs[name] === undefined);
    if (unknown !== undefined) throw new RangeError(`${program.label}: it has no output ${unknown} to keep`);
    const worker = this.#workerOf(program, feeds, options.worker);
    const start = async (place: Place): Promise<RunResult<K>> => this.#runIn(place, program, feeds, options);
    if (worker !== undefined) return start(this.#place(worker));
    return new Promise((resolve, reject) => {
      this.#queue.push({ start: async (place) => start(place).then(resolve, reject), reject });
      this.#dispatch();
    });
  }

  async download(resident: Resident): Promise<Tensor> {
    this.#requireLive(resident);
    const { client } = this.#place(resident.worker);
    const { tensor } = await client.send({ kind: 'download', resident: resident.id });
    return tensor as Tensor;
  }

  async release(...residents: readonly Resident[]): Promise<void> {
    for (const resident of residents) {
      this.#requireLive(resident);
      this.#residents.delete(resident);
    }
    await Promise.all(
      this.#places.map(async ({ index, client }) => {
        const ids = residents.filter(({ worker }) => worker === index).map(({ id }) => id);
        if (ids.length > 0) await client.send({ kind: 'release', residents: ids });
      }),
    );
  }

  async close(): Promise<void> {
    for (const { reject } of this.#queue.splice(0)) reject(new Error('the runtime was closed'));
    await Promise.all(this.#places.map(async ({ client }) => client.close()));
  }

  /** Gives waiting jobs to idle workers. */
  #dispatch(): void {
    for (const place of this.#places) {
      if (place.client.load > 0) continue;
      const job = this.#queue.shift();
      if (job === undefined) return;
      void job.start(place).finally(() => this.#dispatch());
    }
  }

  async #runIn<K extends string>(
    { index, client, programs }: Place,
    program: Program,
    feeds: Readonly<Record<string, Tensor | Resident>>,
    { keep = [], transfer = false }: RunOptions<K>,
  ): Promise<RunResult<K>> {
    const isNew = !programs.delete(program.hash);
    programs.add(program.hash);
    const evict = [...programs].slice(0, Math.max(0, programs.size - maximumPrograms));
    evict.forEach((hash) => programs.delete(hash));
    const sent = Object.fromEntries(
      Object.entries(feeds).map(([name, feed]) => [
        name,
        isResident(feed) ? feed.id : transfer ? movable(feed) : copied(feed),
      ]),
    );
    const buffers = Object.values(sent).flatMap((feed) => (typeof feed === 'number' ? [] : [bufferOf(feed)]));
    const bytes = isNew ? Uint8Array.from(program.bytes) : undefined;
    const ids = Object.fromEntries(keep.map((name) => [name, this.#nextResident++]));
    try {
      const answer = await client.send(
        { kind: 'run', program: program.hash, evict, feeds: sent, keep: ids, ...(bytes && { bytes }) },
        [...new Set(buffers), ...(bytes ? [bytes.buffer] : [])],
      );
      return this.#adopt(index, answer, ids) as RunResult<K>;
    } catch (error) {
      if (error instanceof Error) error.message = `${program.label}: ${error.message}`;
      throw error;
    }
  }

  #adopt(
    worker: number,
    answer: Answer,
    ids: Readonly<Record<string, ResidentId>>,
  ): Record<string, Tensor | Resident> {
    return Object.fromEntries(
      Object.entries(answer).map(([name, value]) => {
        if ('data' in value) return [name, value];
        const resident: Resident = { id: ids[name]!, worker, dtype: value.dtype, shape: value.shape };
        this.#residents.add(resident);
        return [name, resident];
      }),
    );
  }

  /** The worker a run is bound to; undefined when any will do. */
  #workerOf(
    program: Program,
    feeds: Readonly<Record<string, Tensor | Resident>>,
    chosen: number | undefined,
  ): number | undefined {
    let worker = chosen;
    for (const [name, feed] of Object.entries(feeds)) {
      if (!isResident(feed)) continue;
      this.#requireLive(feed);
      worker ??= feed.worker;
      if (feed.worker !== worker) {
        throw new RangeError(`${program.label}: feed ${name} lives in worker ${feed.worker}, not ${worker}`);
      }
    }
    return worker;
  }

  #place(worker: number): Place {
    const place = this.#places[worker];
    if (place === undefined) throw new RangeError(`no worker ${worker}; there are ${this.#places.length}`);
    return place;
  }

  #requireLive(resident: Resident): void {
    if (!this.#residents.has(resident)) {
      throw new RangeError(`resident ${resident.id} was released or belongs to another runtime`);
    }
  }
}

const isResident = (feed: Tensor | Resident): feed is Resident => 'worker' in feed;

const bufferOf = ({ data }: Tensor): ArrayBuffer => data.buffer as ArrayBuffer;

const copied = (tensor: Tensor): Tensor => ({ ...tensor, data: tensor.data.slice() }) as Tensor;

/** The tensor itself when it owns its whole buffer and may part with it; else a copy. */
const movable = (tensor: Tensor): Tensor =>
  tensor.data.buffer instanceof ArrayBuffer && tensor.data.byteLength === tensor.data.buffer.byteLength
    ? tensor
    : copied(tensor);
