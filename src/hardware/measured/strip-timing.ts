/**
 * Times a part on the CPU within a decoder, as `puzzle generate` runs it: fused kernels, weights held by the session, the
 * KV cache written in place. A block is timed as the difference of two decoders that have many copies of it and one,
 * each copy with weights of its own: in a loop over one copy the processor's cache would hold what a model must read
 * from memory at every token.
 */
import {
  cachePorts,
  decoderGraph,
  headWidths,
  portNames,
  rotationName,
  type DecoderOptions,
} from '../../generate/index.ts';
import { blockParameters, rotationTables } from '../../blocks/index.ts';
import type { Architecture, StreamConfig } from '../../model/index.ts';
import type { Program, Resident, Runtime } from '../../runtime/index.ts';
import { elementCount, type Shape, type Tensor } from '../../tensor/tensor.ts';
import { seededRandom } from '../../util/random.ts';
import { repeated, type Timed, type Timing } from './timed.ts';

/** Copies fill the caches of a processor several times over; a smaller model is timed at its own size. */
const mostStripBytes = 128 * 2 ** 20;
const mostCopies = 48;
/** Rows of the vocabulary of a strip: its head must not drown its blocks. */
const stripVocabulary = 32;
const bytesPerWeight = 4;

export async function timeInStrip(
  timed: Timed,
  stream: StreamConfig,
  modelBytes: number,
  runtime: Runtime,
): Promise<Timing> {
  if (timed.part === 'head') {
    const decoder = await openStrip({ stream, slots: [] }, timed.batch, 0, 1, runtime);
    try {
      await decoder.run(); // warms up
      return await repeated(async () => [await decoder.run(), 0], 1);
    } finally {
      await decoder.close();
    }
  }
  const { config, batch } = timed;
  const small: StreamConfig = { ...stream, vocabularySize: stripVocabulary, tiedEmbeddings: true };
  const blockBytes = Math.max(1, bytesPerWeight * blockParameters(config, stream));
  const copies = Math.min(
    mostCopies,
    Math.max(2, Math.ceil(Math.min(modelBytes, mostStripBytes) / blockBytes)),
  );
  const [length, tokens] = timed.phase === 'prefill' ? [0, timed.tokens] : [timed.length, 1];
  const strip = (count: number): Promise<Strip> => {
    const kind = config.kind === 'gqa' ? 'attention' : 'ffn';
    const slots = Array.from({ length: count }, (_, layer) => ({ layer, kind, block: config }) as const);
    return openStrip({ stream: small, slots }, batch, length, tokens, runtime);
  };
  const one = await strip(1);
  const many = await strip(copies);
  try {
    for (const { run } of [one, many]) await run(); // warms up
    return await repeated(async () => [await many.run(), await one.run()], copies - 1);
  } finally {
    await one.close();
    await many.close();
  }
}

interface Strip {
  /** One pass over `tokens` new tokens after `length` in the cache; milliseconds. */
  run(): Promise<number>;
  close(): Promise<void>;
}

async function openStrip(
  architecture: Architecture,
  batch: number,
  length: number,
  tokens: number,
  runtime: Runtime,
): Promise<Strip> {
  const total = length + tokens;
  const options: DecoderOptions = { dtype: 'float32', contextLength: total };
  const graph = decoderGraph(architecture, options);
  const weights: Record<string, Tensor> = {};
  const noise = noiseTensors();
  const caches = cachePorts(architecture);
  const fed = new Set<string>([
    portNames.tokens,
    portNames.mask,
    portNames.kept,
    ...caches.flatMap(({ past }) => [past.keys, past.values]),
  ]);
  for (const headDim of headWidths(architecture)) {
    const tables = rotationTables(headDim, total, architecture.stream);
    for (const name of ['cos', 'sin'] as const) weights[rotationName(headDim, name)] = tables[name];
  }
  for (const [name, { shape }] of Object.entries(graph.inputs))
    if (!fed.has(name)) weights[name] ??= noise(shape);
  const program: Program = await runtime.load(graph, weights, 0);
  const past: Record<string, Resident> = {};
  const present: Record<string, Resident> = {};
  for (const port of caches) {
    for (const part of ['keys', 'values'] as const) {
      const resident = await runtime.upload(noise([batch, port.kvHeads, total, port.headDim]), 0);
      past[port.past[part]] = present[port.present[part]] = resident;
    }
  }
  return {
    async run() {
      const all = {
        ...past,
        [portNames.tokens]: int64(new Array<number>(batch * tokens).fill(1), [batch, tokens]),
        [portNames.mask]: int64(new Array<number>(batch * total).fill(1), [batch, total]),
        [portNames.kept]: int64([1], []),
      };
      // A model without attention asks for no mask.
      const feeds = Object.fromEntries(Object.entries(all).filter(([name]) => name in program.inputs));
      const start = performance.now();
      await runtime.run(program, feeds, { into: present, worker: 0, transfer: true });
      return performance.now() - start;
    },
    async close() {
      await runtime.release(...Object.values(past));
      await runtime.unload(program);
    },
  };
}

/** Small random numbers, so that a stream that passes many blocks stays finite; cut from one sheet of them. */
export function noiseTensors(): (shape: Shape) => Tensor<'float32'> {
  const random = seededRandom(1);
  const sheet = Float32Array.from({ length: 1 << 16 }, () => 0.02 * (random.uniform() - 0.5));
  return (shape) => {
    const data = new Float32Array(elementCount(shape));
    for (let start = 0; start < data.length; start += sheet.length)
      data.set(sheet.subarray(0, data.length - start), start);
    return { dtype: 'float32', shape, data };
  };
}

const int64 = (values: readonly number[], shape: Shape): Tensor => ({
  dtype: 'int64',
  shape,
  data: BigInt64Array.from(values, BigInt),
});
