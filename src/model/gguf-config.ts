/** Metadata of a GGUF file -> architecture. Keys as ggml's docs/gguf.md names them. */
import type { GgufFile, GgufValue } from '../tensor/index.ts';
import { PuzzleError } from '../util/errors.ts';
import type { Architecture, RopeScaling } from './architecture.ts';
import { deciSlots, type DeciLayer } from './deci-layers.ts';
import { families } from './families.ts';
import { teacherSlots } from './teacher-slots.ts';
import { streamWeightNames } from './weight-names.ts';

/** The heterogeneous one; its blocks are a Llama's, where they are a teacher's. */
export const heterogeneousArchitecture = 'deci';

export interface GgufConfig {
  readonly architecture: Architecture;
  /** Whether rows of Q and K are ordered so that RoPE turns neighbours instead of halves. */
  readonly pairsNeighbours: boolean;
  /** Prefixes of the names of tensors that only stand in for something that is not there. */
  readonly idle: readonly string[];
}

/**
 * Reads the architecture of an open GGUF file.
 * Throws `file-invalid` for metadata that is missing or of the wrong type, `unsupported-model`.
 */
export async function readGgufConfig(file: GgufFile, path: string): Promise<GgufConfig> {
  const metadata = new MetadataReader(file, path);
  const architecture = metadata.text('general.architecture');
  const isHeterogeneous = architecture === heterogeneousArchitecture;
  const [name, family] =
    Object.entries(families).find(([model, { gguf }]) =>
      isHeterogeneous ? model === 'llama' : gguf === architecture,
    ) ?? [];
  if (name === undefined || family === undefined) {
    throw unsupported(path, 'general.architecture', architecture, modelFix);
  }
  const key = (field: string): string => `${architecture}.${field}`;
  const hidden = metadata.number(key('embedding_length'));
  const least = isHeterogeneous ? 0 : 1;
  const heads = metadata.perLayer(key('attention.head_count'), least);
  const kvHeads = metadata.perLayer(key('attention.head_count_kv'), least, heads(0));
  const widths = metadata.perLayer(key('feed_forward_length'), least);
  const headDim = metadata.number(key('attention.key_length'), hidden / heads(0));
  const window = metadata.number(key('attention.sliding_window'), 0);
  const layers = metadata.number(key('block_count'));
  refuseWhatWeDoNotCompute(metadata, key, headDim);
  const ropeScaling = await readRopeScaling(file, path);
  const sizesOf = (layer: number): DeciLayer => ({
    heads: heads(layer),
    kvHeads: kvHeads(layer),
    width: widths(layer),
  });
  const { slots, idle } = isHeterogeneous
    ? await deciSlots(
        file,
        path,
        headDim,
        Array.from({ length: layers }, (_, layer) => sizesOf(layer)),
      )
    : {
        slots: teacherSlots(layers, (layer) => ({
          ...sizesOf(layer),
          headDim,
          family,
          window: window > 0 ? window : undefined,
        })),
        idle: [],
      };
  const stream = {
    family: name,
    vocabularySize: vocabularySize(file, path),
    hidden,
    normEpsilon: metadata.number(key('attention.layer_norm_rms_epsilon')),
    ropeTheta: metadata.number(key('rope.freq_base'), 10000),
    ...(ropeScaling !== undefined && { ropeScaling }),
    tiedEmbeddings: !file.tensors.has(streamWeightNames.gguf.head),
    contextLength: metadata.number(key('context_length'), 2048),
  };
  return { architecture: { stream, slots }, pairsNeighbours: family.ggufPairsNeighbours, idle };
}

const modelFix = `Use a model of one of these: ${[...new Set(Object.values(families).map(({ gguf }) => gguf)), heterogeneousArchitecture].join(', ')}.`;

const unsupported = (path: string, key: string, value: unknown, fix: string): PuzzleError =>
  new PuzzleError('unsupported-model', `${path}: ${key} ${JSON.stringify(value)} is not supported.`, {
    at: `${path}: ${key}`,
    value,
    fix,
  });

/** Typed access to metadata; what is missing or mistyped is a coded error that names the key. */
class MetadataReader {
  readonly #file: GgufFile;
  readonly path: string;

  constructor(file: GgufFile, path: string) {
    this.#file = file;
    this.path = path;
  }

  text(key: string, missing?: string): string {
    const value = this.#file.metadata.get(key);
    if (value === undefined && missing !== undefined) return missing;
    if (value?.type !== 'string') throw this.#mistyped(key, 'text', value);
    return value.value;
  }

  number(key: string, missing?: number): number {
    const value = this.#file.metadata.get(key);
    if (value === undefined && missing !== undefined) return missing;
    return this.#numeric(key, value);
  }

  /** A number, or an array with one for each layer; `least` is the smallest that a layer may have. */
  perLayer(key: string, least: number, missing?: number): (layer: number) => number {
    const value = this.#file.metadata.get(key);
    if (value?.type !== 'array') {
      const number = this.number(key, missing);
      return () => number;
    }
    const numbers = value.value;
    return (layer) => {
      const item = numbers[layer];
      if (typeof item !== 'number' || !Number.isInteger(item) || item < least)
        throw this.#mistyped(`${key}[${layer}]`, `a whole number from ${least}`, value);
      return item;
    };
  }

  #numeric(key: string, value: GgufValue | undefined): number {
    const number = typeof value?.value === 'bigint' ? Number(value.value) : value?.value;
    if (typeof number !== 'number' || !Number.isFinite(number) || number < 0) {
      throw this.#mistyped(key, 'a number', value);
    }
    return value?.type === 'float32' ? shortestDecimal(number) : number;
  }

  #mistyped(key: string, expected: string, value: GgufValue | undefined): PuzzleError {
    const found = value === undefined ? 'is missing' : `is of type ${value.type}`;
    return new PuzzleError('file-invalid', `${this.path}: ${key} ${found} where ${expected} is needed.`, {
      at: `${this.path}: ${key}`,
      value: value?.type === 'array' ? value.type : value?.value,
      fix: 'Download or convert the file again.',
    });
  }
}

/** The decimal that was meant, 1e-5 and not 9.999999747378752e-6, where a file keeps a number as float32. */
function shortestDecimal(float: number): number {
  for (let digits = 1; digits < 9; digits++) {
    const decimal = Number(float.toPrecision(digits));
    if (Math.fround(decimal) === float) return decimal;
  }
  return float;
}

function refuseWhatWeDoNotCompute(
  metadata: MetadataReader,
  key: (field: string) => string,
  headDim: number,
): void {
  const { path } = metadata;
  const refuse = (field: string, value: unknown): PuzzleError =>
    unsupported(path, key(field), value, 'Use a model without it.');
  if (!Number.isInteger(headDim)) throw refuse('attention.head_count', headDim);
  const valueDim = metadata.number(key('attention.value_length'), headDim);
  if (valueDim !== headDim) throw refuse('attention.value_length', valueDim);
  const rotated = metadata.number(key('rope.dimension_count'), headDim);
  if (rotated !== headDim) throw refuse('rope.dimension_count', rotated);
  const scaling = metadata.text(key('rope.scaling.type'), 'none');
  if (scaling !== 'none') throw refuse('rope.scaling.type', scaling);
  const experts = metadata.number(key('expert_count'), 0);
  if (experts > 0) throw refuse('expert_count', experts);
}

function vocabularySize(file: GgufFile, path: string): number {
  const rows = file.tensors.get(streamWeightNames.gguf.embedding)?.shape[0];
  if (rows !== undefined) return rows;
  throw new PuzzleError('weights-missing', `${path} holds no ${streamWeightNames.gguf.embedding}.`, {
    at: `${path}: ${streamWeightNames.gguf.embedding}`,
    fix: 'Download or convert the file again.',
  });
}

export const ropeFactorsName = 'rope_freqs.weight';

/** What every Llama 3.1, 3.2 and 3.3 has; the files keep only the factors that follow from it. */
const llama3 = { lowFrequencyFactor: 1, highFrequencyFactor: 4, originalContextLength: 8192 };

/**
 * Llama 3 scaling is stored as the divisor of each pair's frequency. That of the longest wavelength gives the scaling
 * factor; the rest must then follow from Llama 3's constants, or the scaling is not one we compute.
 */
async function readRopeScaling(file: GgufFile, path: string): Promise<RopeScaling | undefined> {
  const stored = file.tensors.get(ropeFactorsName);
  if (stored === undefined) return undefined;
  const { data: divisors } = await stored.load();
  const architecture = file.metadata.get('general.architecture')?.value;
  const theta = Number(file.metadata.get(`${String(architecture)}.rope.freq_base`)?.value ?? 10000);
  const kept = llama3Kept(divisors.length - 1, divisors.length, theta, llama3);
  // Divisors are float32; what was meant has few digits.
  const factor = Number(((1 - kept) / (1 / (divisors.at(-1) ?? 1) - kept)).toPrecision(5));
  const scaling = { factor: Number.isFinite(factor) && factor > 0 ? factor : 1, ...llama3 };
  const expected = llama3Divisors(divisors.length, theta, scaling);
  if (divisors.some((divisor, j) => Math.abs(divisor - expected[j]!) > 1e-3 * expected[j]!)) {
    throw unsupported(
      path,
      ropeFactorsName,
      Array.from(divisors),
      'Use a model with plain RoPE or Llama 3 scaling.',
    );
  }
  return scaling;
}

/**
 * By how much Llama 3.1 divides the frequency of each of `pairs` pairs (config.json `rope_type: llama3`): not at all
 * above `highFrequencyFactor` turns per original context, by `factor` below `lowFrequencyFactor`, blended in between.
 */
export function llama3Divisors(pairs: number, theta: number, scaling: RopeScaling): Float32Array {
  return Float32Array.from({ length: pairs }, (_, j) => {
    const kept = llama3Kept(j, pairs, theta, scaling);
    return 1 / (kept + (1 - kept) / scaling.factor);
  });
}

/** The share of pair j's frequency that is not divided. */
function llama3Kept(j: number, pairs: number, theta: number, scaling: Omit<RopeScaling, 'factor'>): number {
  const { lowFrequencyFactor: low, highFrequencyFactor: high, originalContextLength } = scaling;
  const turns = (originalContextLength * theta ** (-j / pairs)) / (2 * Math.PI);
  return Math.min(1, Math.max(0, (turns - low) / (high - low)));
}
