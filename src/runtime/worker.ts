/** A worker thread: owns ONNX Runtime sessions and resident tensors, serves requests one after another. */
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { parentPort, workerData } from 'node:worker_threads';
import { InferenceSession, type Tensor as OrtTensor } from 'onnxruntime-node';
import { fromOrt, toOrt } from './ort-tensor.ts';
import { Activity, type Answer, type Envelope, type Reply } from './protocol.ts';
import type { Request, RequestOf, WorkerOptions } from './protocol.ts';
import { sessionOptions } from './session-options.ts';

const options = workerData as WorkerOptions;
const host = parentPort!;
const activity = new Int32Array(options.activity);
const sessions = new Map<string, InferenceSession>();
const residents = new Map<number, OrtTensor>();

// A request starts when the one before it has ended, so a program that came with one run is there for the next.
let last = Promise.resolve();
host.on('message', (envelope: Envelope) => {
  last = last.then(() => serve(envelope));
});
rest();

async function serve({ id, request }: Envelope): Promise<void> {
  Atomics.store(activity, Activity.serving, 1);
  if (Atomics.load(activity, Activity.stopping) === 0) {
    try {
      const answer = await handlers[request.kind](request as never);
      const buffers = new Set(Object.values(answer).map(({ data }) => data.buffer as ArrayBuffer));
      host.postMessage({ id, answer } satisfies Reply, [...buffers]);
    } catch (error) {
      const failure = error instanceof Error ? error.message : String(error);
      host.postMessage({ id, failure } satisfies Reply);
    }
  }
  rest();
  if (request.kind === 'close') host.close();
}

function rest(): void {
  Atomics.store(activity, Activity.serving, 0);
  Atomics.notify(activity, Activity.serving);
}

const handlers: { readonly [K in Request['kind']]: (request: RequestOf<K>) => Promise<Answer> } = {
  run,
  load,
  async unload({ program }) {
    await evict(program);
    return {};
  },
  async upload({ resident, tensor }) {
    residents.set(resident, toOrt(tensor));
    return {};
  },
  async download({ resident }) {
    const tensor = fromOrt(residents.get(resident)!);
    return { tensor: { ...tensor, data: tensor.data.slice() } };
  },
  async release(request) {
    request.residents.forEach(release);
    return {};
  },
  async close() {
    [...residents.keys()].forEach(release);
    for (const program of sessions.keys()) await evict(program);
    return {};
  },
};

async function run({
  program,
  compile,
  evict: evicted,
  feeds,
  keep,
  into,
}: RequestOf<'run'>): Promise<Answer> {
  for (const old of evicted) await evict(old);
  if (compile !== undefined) {
    const settings = sessionOptions(options, Object.keys(keep), compile.arena);
    sessions.set(program, await InferenceSession.create(compile.bytes, settings));
  }
  const session = sessions.get(program);
  if (session === undefined) throw new Error('its compilation failed before');
  const outputs = await session.run(
    Object.fromEntries(
      Object.entries(feeds).map(([name, feed]) => [
        name,
        typeof feed === 'number' ? residents.get(feed)! : toOrt(feed),
      ]),
    ),
    Object.fromEntries(
      session.outputNames.map((name) => [name, name in into ? residents.get(into[name]!)! : null]),
    ),
  );
  for (const [name, resident] of Object.entries(keep)) residents.set(resident, outputs[name]!);
  return Object.fromEntries(
    Object.entries(outputs).flatMap(([name, output]) =>
      name in keep || name in into ? [] : [[name, fromOrt(output)]],
    ),
  );
}

async function load({ program, model, ports, weights }: RequestOf<'load'>): Promise<Answer> {
  const externalData = Object.entries(weights).map(([path, data]) => ({ path, data }));
  const settings = {
    ...sessionOptions(options, [], false),
    ...(externalData.length > 0 && { externalData }),
  };
  const session = await (typeof model === 'string'
    ? InferenceSession.create(model, settings)
    : InferenceSession.create(model, settings));
  const found = [...session.inputNames, ...session.outputNames];
  const stray = [...found, ...ports].find((name) => !found.includes(name) || !ports.includes(name));
  if (stray !== undefined) {
    await session.release();
    throw new Error(`${stray} is ${ports.includes(stray) ? 'not' : 'also'} among its inputs and outputs`);
  }
  sessions.set(program, session);
  if (externalData.length > 0) setTimeout(collectGarbage, 100).unref(); // when nothing here names the weights any more
  return {};
}

/** Frees at once what a loaded session has copied: as large as the model, in handles too small to start a collection. */
function collectGarbage(): void {
  setFlagsFromString('--expose-gc');
  (runInNewContext('gc') as () => void)();
}

async function evict(program: string): Promise<void> {
  await sessions.get(program)?.release();
  sessions.delete(program);
}

function release(resident: number): void {
  residents.get(resident)?.dispose();
  residents.delete(resident);
}
