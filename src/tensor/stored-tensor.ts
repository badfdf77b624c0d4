/** Tensors that stay on disk until they are asked for, one at a time. */
import { PuzzleError } from '../util/errors.ts';
import { encodedBytes, encodings, type EncodingName } from './encoding.ts';
import type { FileReader } from './file-reader.ts';
import { elementCount, float32, type Shape, type Tensor } from './tensor.ts';

export interface StoredTensor {
  readonly name: string;
  readonly shape: Shape;
  /** How its elements are, or are to be, stored. */
  readonly encoding: EncodingName;
  /** Reads and decodes it. Throws `weights-not-finite` for a NaN or an infinity, `file-truncated`. */
  readonly load: () => Promise<Tensor<'float32'>>;
}

/** A file, or several read as one, of named tensors. Whoever opens it closes it. */
export interface TensorFile {
  /** The files read, in a fixed order. */
  readonly paths: readonly string[];
  readonly tensors: ReadonlyMap<string, StoredTensor>;
  close(): Promise<void>;
}

/** A tensor at a place in a file. */
export const storedTensor = (
  file: FileReader,
  position: number,
  name: string,
  shape: Shape,
  encoding: EncodingName,
): StoredTensor => ({
  name,
  shape,
  encoding,
  async load() {
    const data = await readElements(file, position, encoding, elementCount(shape));
    requireFinite(data, `${file.path}: ${name}`);
    return float32(data, shape);
  },
});

/** A tensor in memory where a stored one is expected. */
export const inMemory = (
  name: string,
  tensor: Tensor<'float32'>,
  encoding: EncodingName = 'F32',
): StoredTensor => ({
  name,
  shape: tensor.shape,
  encoding,
  load: async () => tensor,
});

/** Encoded bytes that are held while a tensor is decoded or encoded; a multiple of no block, so blocks are counted. */
const pieceBytes = 4 * 2 ** 20;

/** Whole blocks that fit into a piece, as elements. */
export const elementsPerPiece = (encoding: EncodingName): number =>
  Math.floor(pieceBytes / encodings[encoding].blockBytes) * encodings[encoding].blockElements;

async function readElements(
  file: FileReader,
  position: number,
  encoding: EncodingName,
  elements: number,
): Promise<Float32Array> {
  const target = new Float32Array(elements);
  if (encoding === 'F32') {
    await file.readInto(new Uint8Array(target.buffer), position);
    return target;
  }
  const step = Math.min(elementsPerPiece(encoding), elements);
  const piece = new Uint8Array(encodedBytes(encoding, step));
  for (let done = 0; done < elements; done += step) {
    const count = Math.min(step, elements - done);
    const bytes = piece.subarray(0, encodedBytes(encoding, count));
    await file.readInto(bytes, position + encodedBytes(encoding, done));
    encodings[encoding].decode(bytes, target.subarray(done, done + count));
  }
  return target;
}

/** Throws `weights-not-finite` naming the first NaN or infinity. */
function requireFinite(data: Float32Array, at: string): void {
  // x * 0 is NaN for a NaN or an infinity and 0 otherwise: one test for the whole array instead of one each.
  let sum = 0;
  for (let i = 0; i < data.length; i++) sum += data[i]! * 0;
  if (sum === 0) return;
  const index = data.findIndex((value) => !Number.isFinite(value));
  throw new PuzzleError('weights-not-finite', `${at} holds ${data[index]} at element ${index}.`, {
    at,
    value: String(data[index]),
    fix: 'Download the model again, or use a checkpoint from before training diverged.',
    details: { index },
  });
}
