/** llama.cpp through node-llama-cpp, as the tests that compare with it use it. */
import { getLlama, LlamaLogLevel, type Llama, type LlamaModel, type Token } from 'node-llama-cpp';
import { afterAll } from 'vitest';

let library: Promise<Llama> | undefined;
afterAll(async () => (await library)?.dispose());

/** llama.cpp on the CPU, opened once per test file. */
const openLibrary = (): Promise<Llama> =>
  (library ??= getLlama({ build: 'never', gpu: false, skipDownload: true, logLevel: LlamaLogLevel.error }));

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
  // One thread: ggml's threads wait for each other by spinning, which a busy machine punishes.
  const context = await model.createContext({
    contextSize: window.length + 8,
    batchSize: window.length,
    threads: 1,
  });
  try {
    const tokens = Array.from(window) as Token[];
    const untouched = { temperature: 1, topK: 0, topP: 1, minP: 0 };
    const outputs = await context
      .getSequence()
      .controlledEvaluate(
        tokens
          .slice(0, -1)
          .map((token) => [token, { generateNext: { probabilities: true, options: untouched } }]),
      );
    return tokens.slice(1).map((token, i) => Math.log(outputs[i]?.next.probabilities?.get(token) ?? 0));
  } finally {
    await context.dispose();
  }
}
