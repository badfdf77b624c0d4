/** Runs a graph on ONNX Runtime's CPU kernels, for tests that need its numbers and nothing of the runtime. */
import { InferenceSession, Tensor as OrtTensor } from 'onnxruntime-node';
import { encode, type Graph } from '../../src/graph/index.ts';
import type { Tensor } from '../../src/tensor/index.ts';

export type Feeds = Readonly<Record<string, Tensor>>;
export type Results = Record<string, { readonly shape: readonly number[]; readonly data: ArrayLike<number> }>;

/** Compiles once; call the result as often as needed. */
export async function compile(graph: Graph): Promise<(feeds: Feeds) => Promise<Results>> {
  // 'all' fuses x * sigmoid(x) into a kernel that has no float64 variant.
  const options = { intraOpNumThreads: 1, logSeverityLevel: 3, graphOptimizationLevel: 'basic' } as const;
  const session = await InferenceSession.create(encode(graph), options);
  return async (feeds) => {
    const entries = Object.entries(feeds).map(([name, { dtype, shape, data }]) => [
      name,
      new OrtTensor(dtype as 'float32', data as Float32Array, shape),
    ]);
    const outputs = await session.run(Object.fromEntries(entries) as Record<string, OrtTensor>);
    return Object.fromEntries(
      Object.entries(outputs).map(([name, { dims, data }]) => [
        name,
        { shape: dims, data: Array.from(data as ArrayLike<number | bigint>, Number) },
      ]),
    );
  };
}

export const run = async (graph: Graph, feeds: Feeds = {}): Promise<Results> => (await compile(graph))(feeds);
