/** An exported decoder: an ONNX file with its weights beside it, and the small JSON file that says how it is run. */
import { stat } from 'node:fs/promises';
import { join } from 'node:path';
import { z } from 'zod';
import type { Graph, TensorType } from '../graph/index.ts';
import { createTokenizer, type Architecture, type Tokenizer } from '../model/index.ts';
import type { Ports, Program, Runtime } from '../runtime/index.ts';
import { readText } from '../tensor/index.ts';
import { PuzzleError } from '../util/errors.ts';
import { checkAgainst, parseJson } from '../util/json.ts';
import { cachePorts, portNames, type DecoderDType } from './decoder-graph.ts';
import type { Decoder } from './decoder.ts';

/** Names of the files. */
export const onnxFiles = {
  description: 'decoder.json',
  model: 'model.onnx',
  data: 'model.onnx.data',
  tokenizer: 'tokenizer.json',
} as const;

const fix = 'Export the model again.';

const count = z.int().positive();

/** An axis of a name is as long as each run wants it; equal names are equal lengths. */
const port = z.strictObject({
  dtype: z.enum(['int64', 'float32', 'float16']),
  shape: z.array(z.union([count, z.string().min(1)])),
  meaning: z.string(),
});
const names = z.strictObject({ keys: z.string(), values: z.string() });

/** What runs an exported decoder needs to know. */
const fields = z.strictObject({
  schema: z.literal('puzzle/onnx-decoder@1'),
  model: z.literal(onnxFiles.model),
  /** The weights' file and its size. */
  data: z.strictObject({ file: z.literal(onnxFiles.data), bytes: z.int().nonnegative() }),
  tokenizer: z.literal(onnxFiles.tokenizer),
  vocabularySize: count,
  contextLength: count,
  /** Tokens that end a text. */
  endTokens: z.array(z.int().nonnegative()),
  /** Element type of weights and cache. */
  dtype: z.enum(['float32', 'float16']),
  inputs: z.record(z.string(), port),
  outputs: z.record(z.string(), port),
  /** Inputs and outputs of each layer that attends: (batch, kvHeads, length, headDim). */
  cache: z.array(
    z.strictObject({
      layer: z.int().nonnegative(),
      kvHeads: count,
      headDim: count,
      past: names,
      present: names,
    }),
  ),
});
/** The fields, with a cache that the ports have. */
const onnxDescriptionSchema = fields.superRefine(({ dtype, inputs, outputs, cache }, context) => {
  for (const [index, { kvHeads, headDim, past, present }] of cache.entries()) {
    for (const [part, name, ports] of [
      ...Object.values(past).map((own) => ['past', own, inputs] as const),
      ...Object.values(present).map((own) => ['present', own, outputs] as const),
    ]) {
      const [shape, wanted] = [ports[name]?.shape ?? [], ['batch', kvHeads, part, headDim]];
      if (shape.join() === wanted.join() && ports[name]!.dtype === dtype) continue;
      const message = `${name} is no port of ${dtype}[${wanted.join(', ')}]`;
      context.addIssue({ code: 'custom', path: ['cache', index, part], message });
    }
  }
});
export type OnnxDescription = z.infer<typeof onnxDescriptionSchema>;

export interface DescribedDecoder {
  readonly graph: Graph;
  readonly architecture: Architecture;
  readonly dtype: DecoderDType;
  /** Whether an input of the graph became a weight of the file. */
  readonly isWeight: (input: string) => boolean;
  readonly dataBytes: number;
  readonly endTokens: readonly number[];
}

/** The description of a decoder that is being written. */
export function describeDecoder({
  graph,
  architecture,
  dtype,
  isWeight,
  dataBytes,
  endTokens,
}: DescribedDecoder): OnnxDescription {
  const { vocabularySize, contextLength } = architecture.stream;
  const ports = (values: Graph['inputs'] | Graph['outputs']): OnnxDescription['inputs'] =>
    Object.fromEntries(
      Object.entries<TensorType>(values)
        .filter(([name]) => !isWeight(name))
        .map(([name, { dtype: elements, shape }]) => [
          name,
          {
            dtype: elements as OnnxDescription['dtype'],
            shape: [...(graph.shapes[name] ?? shape)],
            meaning: meanings[name] ?? (name.startsWith('present') ? presentMeaning : pastMeaning),
          },
        ]),
    );
  return {
    schema: 'puzzle/onnx-decoder@1',
    model: onnxFiles.model,
    data: { file: onnxFiles.data, bytes: dataBytes },
    tokenizer: onnxFiles.tokenizer,
    vocabularySize,
    contextLength,
    endTokens: [...endTokens],
    dtype,
    inputs: ports(graph.inputs),
    outputs: ports(graph.outputs),
    cache: cachePorts(architecture).map((cachePort) => ({ ...cachePort })),
  };
}

const meanings: Readonly<Record<string, string>> = {
  [portNames.tokens]: 'The new tokens of each sequence.',
  [portNames.mask]: '1 for each token of the sequences, those in the cache included.',
  [portNames.kept]: 'How many of the last new tokens get logits; 0 for all of them.',
  [portNames.logits]: 'Logits of the token that follows each of those.',
};
const pastMeaning =
  'The cache. Longer than the tokens in it, it is filled in order; the memory of the output may be the same.';
const presentMeaning = 'The cache with the new tokens in it, as long as the larger of cache and total.';

/** Whether there is an exported decoder at the path. */
export const isOnnxFolder = async (path: string): Promise<boolean> =>
  (await sizeOf(join(path, onnxFiles.description))) !== undefined;

export interface OnnxDecoder {
  readonly decoder: Decoder;
  readonly tokenizer: Tokenizer;
  readonly endTokens: readonly number[];
}

/**
 * Opens what `puzzle export --format onnx` wrote; ONNX Runtime reads the model's files itself.
 * @throws PuzzleError `file-missing`, `file-truncated`, `file-invalid`
 */
export async function openOnnxFolder(folder: string, runtime: Runtime): Promise<OnnxDecoder> {
  const path = join(folder, onnxFiles.description);
  const description = checkAgainst(onnxDescriptionSchema, parseJson(await readText(path), path), path, fix);
  const modelPath = join(folder, description.model);
  await requireFile(modelPath);
  await requireFile(join(folder, description.data.file), description.data.bytes);
  const tokenizerPath = join(folder, description.tokenizer);
  const tokenizerText = await readText(tokenizerPath);
  const decoder: Decoder = {
    runtime,
    worker: 0,
    program: await load(runtime, modelPath, description),
    cache: description.cache,
    dtype: description.dtype,
    contextLength: description.contextLength,
  };
  return {
    decoder,
    tokenizer: createTokenizer(parseJson(tokenizerText, tokenizerPath), tokenizerPath, () => ({
      'tokenizer.json': tokenizerText,
      'tokenizer_config.json': '{}\n',
    })),
    endTokens: description.endTokens,
  };
}

const portsOf = ({ inputs, outputs }: OnnxDescription): Ports => {
  const typesOf = (ports: OnnxDescription['inputs']): Ports['inputs'] =>
    Object.fromEntries(Object.entries(ports).map(([name, { dtype, shape }]) => [name, { dtype, shape }]));
  return { inputs: typesOf(inputs), outputs: typesOf(outputs) };
};

/** The file as ONNX Runtime takes it. */
async function load(runtime: Runtime, path: string, description: OnnxDescription): Promise<Program> {
  try {
    return await runtime.loadFile(path, portsOf(description));
  } catch (cause) {
    if (cause instanceof PuzzleError) throw cause;
    const reason = cause instanceof Error ? cause.message : String(cause);
    throw new PuzzleError('file-invalid', `ONNX Runtime cannot run it: ${reason}`, { at: path, fix, cause });
  }
}

async function requireFile(path: string, bytes?: number): Promise<void> {
  const size = await sizeOf(path);
  if (size === undefined) throw new PuzzleError('file-missing', `There is no ${path}.`, { at: path, fix });
  if (bytes === undefined || size === bytes) return;
  throw new PuzzleError('file-truncated', `${path} has ${size} bytes where ${bytes} were written.`, {
    at: path,
    value: size,
    fix,
  });
}

const sizeOf = async (path: string): Promise<number | undefined> =>
  stat(path).then(
    (found) => (found.isFile() ? found.size : undefined),
    () => undefined,
  );
