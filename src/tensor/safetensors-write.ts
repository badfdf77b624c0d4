/** Writes safetensors files as a stream: the header, then one tensor at a time. */
import type { FileHandle } from 'node:fs/promises';
import { streamFileAtomically } from '../util/atomic-file.ts';
import { PuzzleError } from '../util/errors.ts';
import { encodedBytes, encodings, type Encoding } from './encoding.ts';
import { elementsPerPiece, type StoredTensor } from './stored-tensor.ts';
import { elementCount } from './tensor.ts';

/**
 * Writes tensors in the given order, each in its `encoding` (F32, F16 or BF16), holding one at a time.
 * The file appears whole or not at all. Throws `not-writable`, `disk-full`, whatever `load` throws, and
 * `weights-not-finite` for a value too large for F16.
 */
export async function writeSafetensors(
  path: string,
  tensors: readonly StoredTensor[],
  metadata?: Readonly<Record<string, string>>,
): Promise<void> {
  await streamFileAtomically(path, async (file) => {
    await file.writeFile(headerBytes(tensors, metadata));
    for (const tensor of tensors) await writeElements(file, tensor);
  });
}

function headerBytes(
  tensors: readonly StoredTensor[],
  metadata?: Readonly<Record<string, string>>,
): Uint8Array {
  let end = 0;
  const entries = tensors.map(({ name, shape, encoding }) => {
    const start = end;
    end += encodedBytes(encoding, elementCount(shape));
    return [name, { dtype: encoding, shape, data_offsets: [start, end] }] as const;
  });
  const json = JSON.stringify({
    ...(metadata !== undefined && { __metadata__: metadata }),
    ...Object.fromEntries(entries),
  });
  const text = new TextEncoder().encode(json);
  // Padded with spaces so that tensors start at a multiple of 8, as memory-mapping readers like.
  const bytes = new Uint8Array(8 + Math.ceil(text.length / 8) * 8).fill(0x20);
  new DataView(bytes.buffer).setBigUint64(0, BigInt(bytes.length - 8), true);
  bytes.set(text, 8);
  return bytes;
}

/** Loads one tensor, encodes it a piece at a time and writes it where the file ends. */
export async function writeElements(file: FileHandle, tensor: StoredTensor): Promise<void> {
  const { data, shape } = await tensor.load();
  if (elementCount(shape) !== elementCount(tensor.shape)) {
    throw new RangeError(
      `${tensor.name} turned out as [${shape.join(', ')}], not [${tensor.shape.join(', ')}]`,
    );
  }
  const encoding: Encoding = encodings[tensor.encoding];
  if (encoding.encode === undefined) throw new RangeError(`nothing writes ${tensor.encoding}`);
  if (tensor.encoding === 'F16') requireHalfRange(data, tensor.name);
  const step = elementsPerPiece(tensor.encoding);
  for (let done = 0; done < data.length; done += step) {
    const source = data.subarray(done, Math.min(done + step, data.length));
    const bytes = new Uint8Array(encodedBytes(tensor.encoding, source.length));
    encoding.encode(source, bytes);
    await file.writeFile(bytes);
  }
}

/** 65520 and above round to infinity. */
function requireHalfRange(data: Float32Array, name: string): void {
  const index = data.findIndex((value) => Math.abs(value) >= 65520);
  if (index < 0) return;
  throw new PuzzleError('weights-not-finite', `${name} holds ${data[index]}, beyond the range of F16.`, {
    at: name,
    value: data[index],
    fix: 'Write BF16 or F32 instead.',
  });
}
