/** A worker thread: owns ONNX Runtime sessions and resident tensors, serves requests one after another. */
import { parentPort, workerData } from 'node:worker_threads';
import { InferenceSession, Tensor as OrtTensor } from 'onnxruntime-node';
import type { Tensor } from '../tensor/tensor.ts';
import { fromOrt, toOrt } from './ort-tensor.ts';
import type { Answer, Envelope, Reply, Request, RunRequest, WorkerOptions } from './protocol.ts';
import { sessionOptions } from './session-options.ts';

const options = workerData as WorkerOptions;
const host = parentPort!;
const sessions = new Map<string, InferenceSession>();
const residents = new Map<number, OrtTensor>();

// A request starts when the one before it has ended, so a program that arrives with its first run is there for the next.
let last = Promise.resolve();
host.on('message', (envelope: Envelope) => {
  last = last.then(() => serve(envelope));
});

async function serve({ id, request }: Envelope): Promise<void> {
  try {
    const answer = await handle(request);
    host.postMessage({ id, answer } satisfies Reply, buffersOf(answer));
  } catch (error) {
    const failure = error instanceof Error ? error.message : String(error);
    host.postMessage({ id, failure } satisfies Reply);
  }
  if (request.kind === 'close') host.close();
}

async function handle(request: Request): Promise<Answer> {
  switch (request.kind) {
    case 'run':
      return run(request);
    case 'upload':
      residents.set(request.resident, toOrt(request.tensor));
      return {};
    case 'download':
      return { tensor: copyOf(await fromOrt(residents.get(request.resident)!)) };
    case 'release':
      request.residents.forEach(release);
      return {};
    case 'close':
      [...residents.keys()].forEach(release);
      await Promise.all([...sessions.keys()].map(evict));
      return {};
  }
}

async function run({ program, bytes, evict: evicted, feeds, keep }: RunRequest): Promise<Answer> {
  await Promise.all(evicted.map(evict));
  if (bytes !== undefined)
    sessions.set(program, await InferenceSession.create(bytes, sessionOptions(options)));
  const session = sessions.get(program);
  if (session === undefined) throw new Error('its compilation failed before');
  const ortFeeds = Object.fromEntries(
    Object.entries(feeds).map(([name, feed]) => [
      name,
      typeof feed === 'number' ? residents.get(feed)! : toOrt(feed),
    ]),
  );
  const outputs = await session.run(ortFeeds);
  const answer: Record<string, Answer[string]> = {};
  for (const [name, output] of Object.entries(outputs)) {
    const resident = keep[name];
    if (resident === undefined) {
      answer[name] = await fromOrt(output);
      continue;
    }
    residents.set(resident, output);
    answer[name] = { dtype: output.type as Tensor['dtype'], shape: [...output.dims] };
  }
  return answer;
}

async function evict(program: string): Promise<void> {
  await sessions.get(program)?.release();
  sessions.delete(program);
}

function release(resident: number): void {
  residents.get(resident)?.dispose();
  residents.delete(resident);
}

/** What stays keeps its memory; the host gets its own. */
const copyOf = (tensor: Tensor): Tensor => ({ ...tensor, data: tensor.data.slice() }) as Tensor;

/** Each buffer once, so that all are moved and none is copied. */
const buffersOf = (answer: Answer): ArrayBuffer[] => [
  ...new Set(
    Object.values(answer).flatMap((value) => ('data' in value ? [value.data.buffer as ArrayBuffer] : [])),
  ),
];
