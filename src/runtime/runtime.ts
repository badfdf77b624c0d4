/** Runs graphs on a device: worker threads own the sessions, the host thread hands out work and stays free. */
import { availableParallelism } from 'node:os';
import { graph, input, reshape, type Graph, type TensorType } from '../graph/index.ts';
import type { DType, Shape, Tensor } from '../tensor/tensor.ts';
import { PuzzleError } from '../util/errors.ts';
import { installHint, type Device } from './device.ts';
import {
  checkFeeds,
  outputType,
  programOf,
  programWith,
  type GraphProgram,
  type Lengths,
  type Ports,
  type Program,
} from './program.ts';
import type { RequestOf, ResidentId } from './protocol.ts';
import { Sessions } from './sessions.ts';
import { WorkerClient } from './worker-client.ts';

export interface RuntimeOptions {
  readonly device: Device;
  /** Worker threads. One with all cores is fastest for large products; more serve many small independent jobs. */
  readonly workers?: number;
  /** Threads one operator may use in each worker; default: the cores, shared among the workers. */
  readonly threads?: number;
  /** Compiled sessions each worker keeps; the least recently used one makes room. */
  readonly maximumPrograms?: number;
}

/** A tensor that stays in a worker, until it is released. */
export interface Resident {
  readonly id: ResidentId;
  readonly worker: number;
  readonly dtype: DType;
  readonly shape: Shape;
}

export type Feeds = Readonly<Record<string, Tensor | Resident>>;

export interface RunOptions<K extends string = never> {
  /** Outputs that stay in the worker. */
  readonly keep?: readonly K[];
  /**
   * Outputs written in place into residents of the same type. A kernel that is given the same resident as input and as
   * output, such as attention its KV cache, then copies nothing. CPU only.
   */
  readonly into?: Readonly<Record<string, Resident>>;
  /** The worker to run in; default: the one that holds the resident feeds, else the first one free. */
  readonly worker?: number;
  /** Move the host tensors among the feeds instead of copying them: their buffers are detached. */
  readonly transfer?: boolean;
}

/** Outputs by name: kept ones as residents, all others as tensors; none that went into residents. */
export type RunResult<K extends string = never> = { readonly [name in K]: Resident } & {
  readonly [name: string]: Tensor;
};

export interface Runtime {
  readonly device: Device;
  readonly workers: number;
  /** Compiled programs held now, summed over the workers. */
  readonly programs: number;
  /** Residents not yet released. */
  readonly residents: number;
  /** Moves a tensor into a worker (default: the first); the caller's buffer is detached, unless shared or a part. */
  upload(tensor: Tensor, worker?: number): Promise<Resident>;
  /**
   * Runs a graph, compiled at first use and found again by content, or a loaded program. A run cannot be interrupted, so keep it within
   * seconds. Host feeds are read when the job starts: leave them unchanged until it resolves.
   * @throws RangeError when feeds do not fit; PuzzleError `out-of-memory`, `worker-lost`; Error naming the graph when
   *   the device refuses it.
   */
  run<const K extends string = never>(
    graph: Graph | Program,
    feeds: Feeds,
    options?: RunOptions<K>,
  ): Promise<RunResult<K>>;
  /**
   * Compiles a graph with some of its inputs as weights, which the session then holds in the layout that its kernels
   * like best: a product with one row reads them at 17 GB/s, those that are fed at 12 (SmolLM2-135M, 2 cores). It stays
   * until it is unloaded.
   * @param weights by input; their buffers are detached
   * @throws PuzzleError `out-of-memory`; Error naming the graph when the device refuses it
   */
  load(graph: Graph, weights: Readonly<Record<string, Tensor>>, worker?: number): Promise<Program>;
  /** Compiles an ONNX file; ONNX Runtime reads the files that hold its weights itself. It stays until unloaded. */
  loadFile(path: string, ports: Ports, worker?: number): Promise<Program>;
  unload(program: Program): Promise<void>;
  /** A copy of a resident tensor. */
  download(resident: Resident): Promise<Tensor>;
  /** Frees residents; using them afterwards is a RangeError. */
  release(...residents: readonly Resident[]): Promise<void>;
  /** Waits for the work already started, then frees everything. */
  close(): Promise<void>;
}

/** @throws PuzzleError `device-unavailable` with what to install. */
export async function openRuntime(options: RuntimeOptions): Promise<Runtime> {
  const runtime = new WorkerRuntime(options);
  const { device } = options;
  if (device === 'cpu') return runtime;
  try {
    await runtime.run(copyGraph({ dtype: 'float32', shape: [1] }), {
      original: { dtype: 'float32', shape: [1], data: new Float32Array(1) },
    });
    return runtime;
  } catch (cause) {
    await runtime.close();
    const reason = cause instanceof Error ? cause.message : String(cause);
    throw new PuzzleError('device-unavailable', `Device ${device} does not work here: ${reason}`, {
      value: device,
      fix: installHint[device],
      cause,
    });
  }
}

interface Place {
  readonly index: number;
  readonly client: WorkerClient;
  /** Programs compiled in this worker. */
  readonly sessions: Sessions;
  /** Those that stay until they are unloaded. */
  readonly loaded: Set<Program>;
}

interface RunJob<K extends string> {
  readonly program: Program;
  readonly feeds: Feeds;
  readonly lengths: Lengths;
  readonly options: RunOptions<K>;
}

/** A run that waits for a worker. */
interface Job {
  readonly start: (place: Place) => void;
  readonly reject: (error: Error) => void;
}

class WorkerRuntime implements Runtime {
  readonly device: Device;
  readonly #places: readonly Place[];
  readonly #residents = new Set<Resident>();
  /** Runs that any worker may do, while none is idle. */
  readonly #queue: Job[] = [];
  #nextResident = 0;
  #nextLoaded = 0;

  constructor({ device, workers = 1, threads, maximumPrograms = 64 }: RuntimeOptions) {
    const share = Math.max(1, Math.floor(availableParallelism() / workers));
    const onIdle = (): void => this.#dispatch();
    this.device = device;
    this.#places = Array.from({ length: workers }, (_, index) => ({
      index,
      client: new WorkerClient({ device, threads: threads ?? share, onIdle }),
      sessions: new Sessions(maximumPrograms),
      loaded: new Set<Program>(),
    }));
  }

  get workers(): number {
    return this.#places.length;
  }

  get programs(): number {
    return this.#places.reduce((sum, { sessions, loaded }) => sum + sessions.size + loaded.size, 0);
  }

  get residents(): number {
    return this.#residents.size;
  }

  async upload(tensor: Tensor, worker = 0): Promise<Resident> {
    if (this.device === 'webgpu') {
      // Kept outputs of a run are the only tensors that onnxruntime-node holds in GPU memory.
      const options = { keep: ['copy'], worker, transfer: true } as const;
      return (await this.run(copyGraph(tensor), { original: tensor }, options)).copy;
    }
    const resident = this.#resident(worker, tensor);
    const moved = movable(tensor);
    const { client } = this.#place(worker);
    await client.send({ kind: 'upload', resident: resident.id, tensor: moved }, buffersOf([moved]));
    this.#residents.add(resident);
    return resident;
  }

  async run<const K extends string = never>(
    graph: Graph | Program,
    feeds: Feeds,
    options: RunOptions<K> = {},
  ): Promise<RunResult<K>> {
    const program = 'hash' in graph ? graph : programOf(graph);
    const lengths = checkFeeds(program, feeds);
    const named = [...(options.keep ?? []), ...Object.keys(options.into ?? {})];
    const unknown = named.find((name) => program.outputs[name] === undefined);
    if (unknown !== undefined) throw new RangeError(`${program.label}: it has no output ${unknown} to keep`);
    const job = { program, feeds, lengths, options };
    const start = async (place: Place): Promise<RunResult<K>> => this.#runIn(place, job);
    const worker =
      this.#loadedIn(program) ??
      options.worker ??
      this.#workerOf(feeds) ??
      (this.workers === 1 ? 0 : undefined);
    if (worker !== undefined) return start(this.#place(worker));
    return new Promise((resolve, reject) => {
      this.#queue.push({ start: (place) => void start(place).then(resolve, reject), reject });
      this.#dispatch();
    });
  }

  async load(graph: Graph, weights: Readonly<Record<string, Tensor>>, worker = 0): Promise<Program> {
    const { bytes, ...program } = programWith(graph, weights);
    const moved = Object.values(weights).map(movable);
    const contents = Object.keys(weights).map((name, index) => [name, bytesOf(moved[index]!)] as const);
    return this.#load(program, Uint8Array.from(bytes), Object.fromEntries(contents), worker);
  }

  async loadFile(path: string, ports: Ports, worker = 0): Promise<Program> {
    return this.#load({ ...ports, label: path, hash: path }, path, {}, worker);
  }

  async #load(
    program: Program,
    model: Uint8Array<ArrayBuffer> | string,
    weights: Readonly<Record<string, Uint8Array<ArrayBuffer>>>,
    worker: number,
  ): Promise<Program> {
    const { client, loaded } = this.#place(worker);
    const buffers = [...new Set(Object.values(weights).map(({ buffer }) => buffer))];
    const key = `${program.hash} loaded ${this.#nextLoaded++}`;
    try {
      const ports = [...Object.keys(program.inputs), ...Object.keys(program.outputs)];
      await client.send({ kind: 'load', program: key, model, ports, weights }, buffers);
    } catch (error) {
      throw named(program, error);
    }
    const kept = { ...program, hash: key };
    loaded.add(kept);
    return kept;
  }

  async unload(program: Program): Promise<void> {
    const place = this.#place(this.#loadedIn(program) ?? -1);
    place.loaded.delete(program);
    await place.client.send({ kind: 'unload', program: program.hash });
  }

  #loadedIn(program: Program): number | undefined {
    return this.#places.find(({ loaded }) => loaded.has(program))?.index;
  }

  async download(resident: Resident): Promise<Tensor> {
    if (this.device === 'webgpu') return (await this.run(copyGraph(resident), { original: resident })).copy!;
    const { client } = this.#placeOf(resident);
    return (await client.send({ kind: 'download', resident: resident.id })).tensor!;
  }

  async release(...residents: readonly Resident[]): Promise<void> {
    const places = new Set(residents.map((resident) => this.#placeOf(resident)));
    for (const resident of residents) this.#residents.delete(resident);
    await Promise.all(
      [...places].map(async ({ index, client }) => {
        const ids = residents.filter(({ worker }) => worker === index).map(({ id }) => id);
        await client.send({ kind: 'release', residents: ids });
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
      if (place.client.isIdle) this.#queue.shift()?.start(place);
    }
  }

  async #runIn<K extends string>(
    place: Place,
    { program, feeds, lengths, options: { keep = [], into = {}, transfer = false } }: RunJob<K>,
  ): Promise<RunResult<K>> {
    const sent = Object.fromEntries(
      Object.entries(feeds).map(([name, feed]) => [name, this.#sendable(place, name, feed, transfer)]),
    );
    const kept = Object.fromEntries(
      keep.map((name) => [name, this.#resident(place.index, outputType(program, name, lengths))]),
    );
    const written = Object.entries(into).map(([name, resident]) => {
      if (this.device !== 'cpu') throw new RangeError(`${this.device} writes no output in place`);
      return [name, this.#sendable(place, name, resident, false)] as const;
    });
    // Where outputs stay is compiled into sessions that keep them in GPU memory.
    const key = this.device === 'webgpu' ? [program.hash, ...keep.toSorted()].join(' ') : program.hash;
    const { evict, compile } = place.loaded.has(program)
      ? { evict: [] }
      : compilation(place.sessions, key, program as GraphProgram);
    const tensors = Object.values(sent).filter((feed) => typeof feed !== 'number');
    try {
      const answer = await place.client.send(
        {
          kind: 'run',
          program: key,
          ...(compile && { compile }),
          evict,
          feeds: sent,
          keep: Object.fromEntries(Object.entries(kept).map(([name, { id }]) => [name, id])),
          into: Object.fromEntries(written) as Readonly<Record<string, ResidentId>>,
        },
        [...buffersOf(tensors), ...(compile ? [compile.bytes.buffer] : [])],
      );
      for (const resident of Object.values(kept)) this.#residents.add(resident);
      return { ...answer, ...kept } as RunResult<K>;
    } catch (error) {
      if (compile) place.sessions.forget(key);
      throw named(program, error);
    }
  }

  #sendable({ index }: Place, name: string, feed: Tensor | Resident, transfer: boolean): Tensor | ResidentId {
    if (!isResident(feed)) return transfer ? movable(feed) : copied(feed);
    if (this.#placeOf(feed).index === index) return feed.id;
    throw new RangeError(`feed ${name} lives in worker ${feed.worker}, the run is in worker ${index}`);
  }

  #resident(worker: number, { dtype, shape }: TensorType): Resident {
    return { id: this.#nextResident++, worker, dtype, shape };
  }

  #workerOf(feeds: Feeds): number | undefined {
    return Object.values(feeds).find(isResident)?.worker;
  }

  #place(worker: number): Place {
    const place = this.#places[worker];
    if (place === undefined) throw new RangeError(`there is no worker ${worker} among ${this.workers}`);
    return place;
  }

  #placeOf(resident: Resident): Place {
    if (this.#residents.has(resident)) return this.#place(resident.worker);
    throw new RangeError(`resident ${resident.id} was released or belongs to another runtime`);
  }
}

/** Copies a tensor across the border of device memory. */
const copyGraph = ({ dtype, shape }: TensorType): Graph =>
  graph({ copy: reshape(input('original', dtype, shape), shape) });

/** What a worker has to do before it can run a program. */
function compilation(
  sessions: Sessions,
  key: string,
  { bytes, transientBytes }: GraphProgram,
): Pick<RequestOf<'run'>, 'evict' | 'compile'> {
  const { isNew, arena, evict } = sessions.touch(key, transientBytes);
  return { evict, ...(isNew && { compile: { bytes: Uint8Array.from(bytes), arena } }) };
}

/** A failure with the name of the program that failed. */
function named({ label }: Program, error: unknown): unknown {
  if (error instanceof Error) error.message = `${label}: ${error.message}`;
  return error;
}

const bytesOf = ({ data }: Tensor): Uint8Array<ArrayBuffer> =>
  new Uint8Array(data.buffer as ArrayBuffer, data.byteOffset, data.byteLength);

const isResident = (feed: Tensor | Resident): feed is Resident => 'worker' in feed;

const buffersOf = (tensors: readonly Tensor[]): ArrayBuffer[] => [
  ...new Set(tensors.map(({ data }) => data.buffer as ArrayBuffer)),
];

const copied = (tensor: Tensor): Tensor => ({ ...tensor, data: tensor.data.slice() });

/** The tensor itself where it owns the whole of a buffer that can move; else a copy. */
const movable = (tensor: Tensor): Tensor =>
  tensor.data.buffer instanceof ArrayBuffer && tensor.data.byteLength === tensor.data.buffer.byteLength
    ? tensor
    : copied(tensor);
