/** ONNX: one decoder with a KV cache on ONNX Runtime's fused kernels, its weights beside it, and how it is run. */
import { open, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { rotationTables } from '../blocks/index.ts';
import {
  blockWeightName,
  cachePorts,
  decoderGraph,
  describeDecoder,
  endTokensOf,
  headWidths,
  onnxFiles,
  refusesServing,
  rotationName,
  streamWeightName,
  type DecoderDType,
} from '../generate/index.ts';
import { encode, type ExternalData, type Graph } from '../graph/index.ts';
import type { Checkpoint } from '../model/index.ts';
import { elementCount, inMemory, writeElements, type StoredTensor } from '../tensor/index.ts';
import type { ExportDtype, Exporter } from './exporter.ts';
import { counted } from './progress.ts';

interface Elements {
  readonly dtype: DecoderDType;
  readonly encoding: 'F32' | 'F16';
  readonly bytes: number;
}

const elementsOf: Partial<Record<ExportDtype, Elements>> = {
  f32: { dtype: 'float32', encoding: 'F32', bytes: 4 },
  f16: { dtype: 'float16', encoding: 'F16', bytes: 2 },
};

export const onnx: Exporter = {
  describe: 'decoder with a KV cache for ONNX Runtime; decoder.json says how it is run',
  dtypes: ['f32', 'f16'],
  dialects: [],
  refuses: refusesServing,
  async write({ checkpoint }, folder, { dtype, report }) {
    const elements = elementsOf[dtype]!;
    const { architecture } = checkpoint;
    const { contextLength } = architecture.stream;
    const graph = decoderGraph(architecture, { dtype: elements.dtype, contextLength });
    const tensors = counted(weightsOf(graph, checkpoint), report);
    const { places, bytes } = await writeWeights(join(folder, onnxFiles.data), tensors, elements);
    await writeFile(join(folder, onnxFiles.model), encode(graph, places));
    const tokenizer = await checkpoint.tokenizer();
    for (const [name, content] of Object.entries(tokenizer.files()))
      await writeFile(join(folder, name), content);
    const description = describeDecoder({
      graph,
      architecture,
      dtype: elements.dtype,
      isWeight: (name) => places.has(name),
      dataBytes: bytes,
      endTokens: endTokensOf(tokenizer),
    });
    await writeFile(join(folder, onnxFiles.description), `${JSON.stringify(description, undefined, 2)}\n`);
    const withoutCache =
      architecture.slots.filter(({ kind }) => kind === 'attention').length - cachePorts(architecture).length;
    return {
      architecture: `${elements.dtype} decoder`,
      notes:
        withoutCache === 0
          ? []
          : [`${withoutCache} layers have no attention, so there is no cache input for them.`],
    };
  },
};

/** The tensors behind the graph's inputs, in the order of the model: its weights and the rotation tables. */
function weightsOf({ inputs }: Graph, checkpoint: Checkpoint): readonly StoredTensor[] {
  const { architecture, stream } = checkpoint;
  const { contextLength } = architecture.stream;
  const named = new Map<string, StoredTensor>();
  for (const name of ['embedding', 'norm', 'head'] as const) {
    const tensor = stream[name];
    if (tensor !== undefined) named.set(streamWeightName(name), tensor);
  }
  for (const slot of architecture.slots.keys())
    for (const [name, tensor] of Object.entries(checkpoint.slot(slot)))
      named.set(blockWeightName(slot, name), tensor);
  for (const headDim of headWidths(architecture)) {
    const tables = rotationTables(headDim, contextLength, architecture.stream);
    for (const name of ['cos', 'sin'] as const)
      named.set(rotationName(headDim, name), inMemory(name, tables[name]));
  }
  return [...named]
    .filter(([name]) => inputs[name] !== undefined)
    .map(([name, tensor]) => ({ ...tensor, name }));
}

/** Weights start at multiples of this, so that readers can map them into memory. */
const pageBytes = 4096;

async function writeWeights(
  path: string,
  tensors: readonly StoredTensor[],
  { encoding, bytes: elementBytes }: Elements,
): Promise<{ readonly places: ReadonlyMap<string, ExternalData>; readonly bytes: number }> {
  const places = new Map<string, ExternalData>();
  const file = await open(path, 'w');
  let end = 0;
  try {
    for (const tensor of tensors) {
      const offset = Math.ceil(end / pageBytes) * pageBytes;
      const length = elementBytes * elementCount(tensor.shape);
      await file.writeFile(new Uint8Array(offset - end));
      await writeElements(file, { ...tensor, encoding });
      places.set(tensor.name, { file: onnxFiles.data, offset, length });
      end = offset + length;
    }
  } finally {
    await file.close();
  }
  return { places, bytes: end };
}
