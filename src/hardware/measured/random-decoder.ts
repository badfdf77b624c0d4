/** A decoder with random weights, to time what `puzzle generate` would take: kernels do not look at the numbers. */
import { rotationTables } from '../../blocks/index.ts';
import {
  cachePorts,
  decoderGraph,
  headWidths,
  portNames,
  rotationName,
  type DecoderOptions,
} from '../../generate/index.ts';
import type { Architecture } from '../../model/index.ts';
import type { Program, Resident, Runtime } from '../../runtime/index.ts';
import { elementCount, type Shape, type Tensor } from '../../tensor/tensor.ts';
import { seededRandom } from '../../util/random.ts';

export interface RandomDecoder {
  /** One pass over `tokens` new tokens of each sequence after `length` in the cache; milliseconds. */
  pass(length: number, tokens: number): Promise<number>;
  close(): Promise<void>;
}

/** @param capacity tokens that each sequence's cache has room for */
export async function openRandomDecoder(
  architecture: Architecture,
  batch: number,
  capacity: number,
  runtime: Runtime,
): Promise<RandomDecoder> {
  const options: DecoderOptions = { dtype: 'float32', contextLength: capacity };
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
    const tables = rotationTables(headDim, capacity, architecture.stream);
    for (const name of ['cos', 'sin'] as const) weights[rotationName(headDim, name)] = tables[name];
  }
  for (const [name, { shape }] of Object.entries(graph.inputs))
    if (!fed.has(name)) weights[name] ??= noise(shape);
  const program: Program = await runtime.load(graph, weights, 0);
  const past: Record<string, Resident> = {};
  const present: Record<string, Resident> = {};
  for (const port of caches) {
    for (const part of ['keys', 'values'] as const) {
      const resident = await runtime.upload(noise([batch, port.kvHeads, capacity, port.headDim]), 0);
      past[port.past[part]] = present[port.present[part]] = resident;
    }
  }
  return {
    async pass(length, tokens) {
      const total = length + tokens;
      const all = {
        ...past,
        [portNames.tokens]: ones([batch, tokens]),
        [portNames.mask]: ones([batch, total]),
        [portNames.kept]: ones([]),
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

/**
 * Small random numbers, so that a stream that passes many blocks stays finite. Cut from one sheet, each tensor at its own
 * place: ONNX Runtime keeps weights of equal content once, and then reads them from the processor's cache.
 */
export function noiseTensors(): (shape: Shape) => Tensor<'float32'> {
  const random = seededRandom(1);
  const sheet = Float32Array.from({ length: 1 << 16 }, () => 0.02 * (random.uniform() - 0.5));
  return (shape) => {
    const data = new Float32Array(elementCount(shape));
    const first = sheet.subarray(Math.floor(random.uniform() * sheet.length)).subarray(0, data.length);
    data.set(first);
    for (let start = first.length; start < data.length; start += sheet.length)
      data.set(sheet.subarray(0, data.length - start), start);
    return { dtype: 'float32', shape, data };
  };
}

const ones = (shape: Shape): Tensor => ({
  dtype: 'int64',
  shape,
  data: new BigInt64Array(elementCount(shape)).fill(1n),
});
