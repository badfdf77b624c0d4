/**
 * GGUF files: `llama`, `qwen2` or `qwen3` where all layers are alike, else `deci`, in which llama.cpp runs heterogeneous
 * models.
 */
import { join } from 'node:path';
import {
  families,
  halvesToNeighbours,
  heterogeneousArchitecture,
  idleWidth,
  isTurned,
  llama3Divisors,
  ropeFactorsName,
  slotWeightName,
  streamWeightNames,
  tokenizerToGguf,
  type Architecture,
  type Slot,
  type StreamWeight,
} from '../model/index.ts';
import {
  float32,
  inMemory,
  writeGguf,
  type GgufMetadata,
  type GgufValue,
  type StoredTensor,
} from '../tensor/index.ts';
import type { ExportDtype, Exporter, ExportSource, Refusal } from './exporter.ts';
import {
  familyOf,
  firstRefusal,
  isGqa,
  isRefusal,
  isSwiglu,
  layersOf,
  uniformBlocks,
  type Layer,
  type PlacedSlot,
} from './layers.ts';
import { counted } from './progress.ts';
import { multiplicationNotes, multiplied, withWholeMatrices } from './whole-matrices.ts';

export const gguf: Exporter = {
  describe: 'one .gguf file for llama.cpp and what is built on it',
  dtypes: ['f32', 'f16', 'bf16', 'q8_0', 'q4_0'],
  dialects: [],
  refuses: (architecture) => refuses(withWholeMatrices(architecture)),
  async write(given, folder, { dtype, report }) {
    const source = { ...given, checkpoint: multiplied(given.checkpoint) };
    const { checkpoint, name } = source;
    const { stream } = checkpoint.architecture;
    const plan = planOf(checkpoint.architecture);
    const tokenizer = tokenizerToGguf(await checkpoint.tokenizer(), stream.vocabularySize, checkpoint.path);
    const metadata = new Map([...metadataOf(plan, checkpoint.architecture, name, dtype), ...tokenizer]);
    const tensors = [...streamTensors(source, plan, dtype), ...layerTensors(source, plan, dtype)];
    await writeGguf(join(folder, `${name}-${dtype.toUpperCase()}.gguf`), metadata, counted(tensors, report));
    const notes = [...multiplicationNotes(given.checkpoint.architecture), ...plan.notes];
    return { architecture: plan.architecture, notes };
  },
};

/** A layer of the file. Either sub-layer may be absent or idle: zeros that only stand in (`src/model/deci-layers.ts`). */
interface FileLayer {
  /** Grouped-query attention, or one matrix, even an FFN's: at its place in the stream it adds the same. */
  readonly attention: PlacedSlot | 'idle' | undefined;
  readonly ffn: PlacedSlot | 'idle' | undefined;
}

interface Plan {
  readonly architecture: string;
  readonly layers: readonly FileLayer[];
  /** Query heads of layers that have none of their own. */
  readonly heads: number;
  readonly headDim: number;
  readonly pairsNeighbours: boolean;
  readonly notes: readonly string[];
}

function refuses(architecture: Architecture): Refusal | undefined {
  const layers = layersOf(architecture);
  if (isRefusal(layers)) return layers;
  const first = layers.map(({ attention }) => attention.block).find(isGqa);
  if (first === undefined)
    return { slot: layers[0]!.attention, reason: 'llama.cpp runs no model without attention' };
  const scaling = architecture.stream.ropeScaling;
  if (
    scaling !== undefined &&
    (scaling.lowFrequencyFactor !== 1 ||
      scaling.highFrequencyFactor !== 4 ||
      scaling.originalContextLength !== 8192)
  )
    return { slot: layers[0]!.attention, reason: "its RoPE scaling has other constants than Llama 3's" };
  const isUniform = uniformBlocks(layers) !== undefined;
  return firstRefusal(layers, ({ kind, block }) => {
    if (block.kind === 'no-op' || block.kind === 'linear') return undefined;
    if (kind === 'ffn') return isSwiglu(block) ? undefined : 'llama.cpp has no such FFN';
    if (!isGqa(block)) return 'llama.cpp has no such attention';
    if (block.window !== undefined) return "llama.cpp's Llama has no sliding window";
    if (block.headDim !== first.headDim) return 'llama.cpp has one head size for all layers';
    if (block.qkNorm === true && !isUniform)
      return `llama.cpp's heterogeneous architecture, ${heterogeneousArchitecture}, norms no query and key heads`;
    return undefined;
  });
}

function planOf(architecture: Architecture): Plan {
  const layers = layersOf(architecture) as readonly Layer[];
  const uniform = uniformBlocks(layers);
  const first = layers.map(({ attention }) => attention.block).find(isGqa)!;
  if (uniform !== undefined) {
    const family = families[familyOf(uniform.attention)]!;
    return {
      architecture: family.gguf,
      layers,
      heads: first.heads,
      headDim: first.headDim,
      pairsNeighbours: family.ggufPairsNeighbours,
      notes: [],
    };
  }
  const { fileLayers, notes } = heterogeneousLayers(layers);
  return {
    architecture: heterogeneousArchitecture,
    layers: fileLayers,
    heads: first.heads,
    headDim: first.headDim,
    pairsNeighbours: true,
    notes,
  };
}

/** Layers in which llama.cpp computes what ours do. */
function heterogeneousLayers(layers: readonly Layer[]): { fileLayers: FileLayer[]; notes: string[] } {
  const notes: string[] = [];
  const present = (slot: PlacedSlot): PlacedSlot | undefined =>
    slot.block.kind === 'no-op' ? undefined : slot;
  const wanted = layers.flatMap(({ attention, ffn }): FileLayer[] => {
    const [first, second] = [present(attention), present(ffn)];
    if (second?.block.kind !== 'linear') return [{ attention: first, ffn: second }];
    notes.push(
      `The linear FFN of layer ${ffn.layer} is written as a linear attention, which adds the same there.`,
    );
    const alone = { attention: second, ffn: undefined };
    return first === undefined ? [alone] : [{ attention: first, ffn: undefined }, alone];
  });
  const fileLayers = wanted.map(({ attention, ffn }, layer): FileLayer => {
    const needsAttention = layer === 0 && attention === undefined;
    const needsFfn =
      ffn === undefined && (attention !== undefined || needsAttention || layer === wanted.length - 1);
    if (needsAttention)
      notes.push(
        'Layer 0 of the file has a matrix of zeros for its attention: llama.cpp reads from it whether there is RoPE.',
      );
    if (needsFfn)
      notes.push(
        `Layer ${layer} of the file has ${idleWidth} channels of zeros for its FFN: llama.cpp would leave the layer out.`,
      );
    return { attention: needsAttention ? 'idle' : attention, ffn: needsFfn ? 'idle' : ffn };
  });
  return { fileLayers, notes };
}

/** `general.file_type` as llama.cpp numbers it. */
const fileTypes: Readonly<Record<ExportDtype, number>> = { f32: 0, f16: 1, q4_0: 2, q8_0: 7, bf16: 32 };

function metadataOf(
  { architecture, layers, heads, headDim }: Plan,
  { stream }: Architecture,
  name: string,
  dtype: ExportDtype,
): GgufMetadata {
  const uint32 = (value: number): GgufValue => ({ type: 'uint32', value });
  const float = (value: number): GgufValue => ({ type: 'float32', value });
  const perLayer = (numbers: readonly number[]): GgufValue =>
    architecture === heterogeneousArchitecture
      ? { type: 'array', items: 'int32', value: numbers }
      : uint32(numbers[0]!);
  const sizes = layers.map(({ attention, ffn }) => {
    const own = typeof attention === 'object' && isGqa(attention.block) ? attention.block : undefined;
    return {
      heads: own?.heads ?? (attention === undefined ? 0 : heads),
      kvHeads: own?.kvHeads ?? 0,
      width: ffn === undefined ? 0 : ffn === 'idle' ? idleWidth : Number(ffn.block.width),
    };
  });
  const isQuantised = dtype === 'q8_0' || dtype === 'q4_0';
  return new Map<string, GgufValue>([
    ['general.architecture', { type: 'string', value: architecture }],
    ['general.name', { type: 'string', value: name }],
    ['general.file_type', uint32(fileTypes[dtype])],
    ...(isQuantised ? ([['general.quantization_version', uint32(2)]] as const) : []),
    [`${architecture}.block_count`, uint32(layers.length)],
    [`${architecture}.context_length`, uint32(stream.contextLength)],
    [`${architecture}.embedding_length`, uint32(stream.hidden)],
    [`${architecture}.feed_forward_length`, perLayer(sizes.map(({ width }) => width))],
    [`${architecture}.attention.head_count`, perLayer(sizes.map((layer) => layer.heads))],
    [`${architecture}.attention.head_count_kv`, perLayer(sizes.map(({ kvHeads }) => kvHeads))],
    [`${architecture}.attention.key_length`, uint32(headDim)],
    [`${architecture}.attention.value_length`, uint32(headDim)],
    [`${architecture}.attention.layer_norm_rms_epsilon`, float(stream.normEpsilon)],
    [`${architecture}.rope.dimension_count`, uint32(headDim)],
    [`${architecture}.rope.freq_base`, float(stream.ropeTheta)],
    [`${architecture}.vocab_size`, uint32(stream.vocabularySize)],
  ]);
}

function streamTensors({ checkpoint }: ExportSource, { headDim }: Plan, dtype: ExportDtype): StoredTensor[] {
  const { ropeTheta, ropeScaling } = checkpoint.architecture.stream;
  // Ids and logits go through these two, so they are kept finer than four bits.
  const ends = dtype === 'q4_0' ? 'q8_0' : dtype;
  const own = (Object.entries(checkpoint.stream) as [StreamWeight, StoredTensor][]).map(([weight, tensor]) =>
    stored(tensor, streamWeightNames.gguf[weight], ends),
  );
  if (ropeScaling === undefined) return own;
  const divisors = llama3Divisors(headDim / 2, ropeTheta, ropeScaling);
  return [...own, inMemory(ropeFactorsName, float32(divisors, [divisors.length]))];
}

function layerTensors({ checkpoint }: ExportSource, plan: Plan, dtype: ExportDtype): StoredTensor[] {
  const { hidden } = checkpoint.architecture.stream;
  return plan.layers.flatMap(({ attention, ffn }, layer) => {
    const place = (slot: PlacedSlot, kind: Slot['kind']): StoredTensor[] =>
      Object.entries(checkpoint.slot(slot.index)).map(([weight, tensor]) => {
        const name = slotWeightName('gguf', slot.index, { ...slot, kind, layer }, weight);
        const turned =
          plan.pairsNeighbours && isTurned(weight) && isGqa(slot.block) ? slot.block.headDim : undefined;
        return stored(tensor, name, dtype, turned);
      });
    const idle = (kind: Slot['kind'], shapes: Readonly<Record<string, readonly number[]>>): StoredTensor[] =>
      Object.entries(shapes).map(([weight, shape]) => {
        const name = slotWeightName('gguf', 0, { layer, kind, block: { kind: 'no-op' } }, weight);
        return stored(inMemory(name, constant(shape, weight === 'norm' ? 1 : 0)), name, dtype);
      });
    return [
      ...(attention === 'idle' ? idle('attention', { norm: [hidden], linear: [hidden, hidden] }) : []),
      ...(typeof attention === 'object' ? place(attention, 'attention') : []),
      ...(ffn === 'idle'
        ? idle('ffn', {
            norm: [hidden],
            gate: [idleWidth, hidden],
            up: [idleWidth, hidden],
            down: [hidden, idleWidth],
          })
        : []),
      ...(typeof ffn === 'object' ? place(ffn, 'ffn') : []),
    ];
  });
}

const constant = (shape: readonly number[], value: number) =>
  float32(new Float32Array(shape.reduce((a, b) => a * b)).fill(value), shape);

const encodingOf = { f32: 'F32', f16: 'F16', bf16: 'BF16', q8_0: 'Q8_0', q4_0: 'Q4_0' } as const;

/** Vectors stay float32, which llama.cpp insists on; rows that are no whole blocks become halves. */
function stored(tensor: StoredTensor, name: string, dtype: ExportDtype, headDim?: number): StoredTensor {
  const isVector = tensor.shape.length === 1;
  const isQuantised = dtype === 'q8_0' || dtype === 'q4_0';
  const fits = !isQuantised || tensor.shape.at(-1)! % idleWidth === 0;
  return {
    ...tensor,
    name,
    encoding: isVector ? 'F32' : fits ? encodingOf[dtype] : 'F16',
    load: headDim === undefined ? tensor.load : async () => halvesToNeighbours(await tensor.load(), headDim),
  };
}
