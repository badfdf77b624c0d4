/** llama.cpp through node-llama-cpp, as tests and benchmarks that compare with it use it. */
import { getLlama, LlamaLogLevel, type Llama, type LlamaModel, type Token } from 'node-llama-cpp';

let library: Promise<Llama> | undefined;

/** llama.cpp on the CPU, opened once. */
const openLibrary = (): Promise<Llama> =>
  (library ??= getLlama({ build: 'never', gpu: false, skipDownload: true, logLevel: LlamaLogLevel.error }));

/** Frees what was opened. */
export const closeLibrary = async (): Promise<void> => (await library)?.dispose();

/** Runs `work` with a model in llama.cpp and disposes of the model. */
export async function inLlamaCpp<T>(
  modelPath: string,
  options: { readonly vocabOnly?: boolean },
  work: (model: LlamaModel) => Promise<T>,
): Promise<T> {
  const model = await (await openLibrary()).loadModel({ modelPath, ...options });
  try {
    return await work(model);
  } finally {
    await model.dispose();
  }
}

/** Log-probability of each token but the first, given those before it in the window. */
export async function tokenLogProbabilities(model: LlamaModel, window: Int32Array): Promise<number[]> {
  const next = await nextLogProbabilities(model, window.subarray(0, -1));
  return Array.from(window.subarray(1), (token, i) => next[i]!.get(token) ?? Number.NEGATIVE_INFINITY);
}

/** Log-probabilities of what follows each token of the window, or only the last one, likeliest first. */
export async function nextLogProbabilities(
  model: LlamaModel,
  window: Int32Array,
  onlyLast = false,
): Promise<ReadonlyMap<number, number>[]> {
  // One thread: ggml's threads wait for each other by spinning, which a busy machine punishes.
  const context = await model.createContext({
    contextSize: window.length + 8,
    batchSize: window.length,
    threads: 1,
  });
  try {
    const untouched = { temperature: 1, topK: 0, topP: 1, minP: 0 };
    const wanted = { generateNext: { probabilities: true, options: untouched } } as const;
    const outputs = await context
      .getSequence()
      .controlledEvaluate(
        (Array.from(window) as Token[]).map((token, i) =>
          onlyLast && i < window.length - 1 ? token : [token, wanted],
        ),
      );
    return outputs.flatMap((output) => {
      const probabilities = output?.next.probabilities;
      if (probabilities === undefined) return [];
      return [new Map([...probabilities].map(([token, probability]) => [token, Math.log(probability)]))];
    });
  } finally {
    await context.dispose();
  }
}

/** The likeliest token, `count` times over. */
export async function greedyContinuation(
  model: LlamaModel,
  start: Int32Array,
  count: number,
): Promise<number[]> {
  const context = await model.createContext({ contextSize: start.length + count + 8, threads: 1 });
  try {
    const made: number[] = [];
    let next = Array.from(start) as Token[];
    const sequence = context.getSequence();
    while (made.length < count) {
      const wanted = { generateNext: { token: true, options: { temperature: 0 } } } as const;
      const outputs = await sequence.controlledEvaluate([...next.slice(0, -1), [next.at(-1)!, wanted]]);
      const token = outputs.at(-1)!.next.token!;
      made.push(token);
      next = [token];
    }
    return made;
  } finally {
    await context.dispose();
  }
}
