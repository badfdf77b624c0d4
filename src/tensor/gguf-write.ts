/** Writes GGUF files (version 3) as a stream: metadata, tensor table, then one tensor at a time. */
import { streamFileAtomically } from '../util/atomic-file.ts';
import { encodedBytes } from './encoding.ts';
import {
  aligned,
  defaultAlignment,
  magic,
  tensorTypeOf,
  valueTypes,
  type GgufItem,
  type GgufMetadata,
  type GgufValue,
  type GgufValueType,
} from './gguf-format.ts';
import { writeElements } from './safetensors-write.ts';
import type { StoredTensor } from './stored-tensor.ts';
import { elementCount } from './tensor.ts';

/**
 * Writes metadata and tensors in the given order, each in its `encoding`, holding one tensor at a time.
 * The file appears whole or not at all. Throws `not-writable`, `disk-full`, and whatever `load` throws.
 */
export async function writeGguf(
  path: string,
  metadata: GgufMetadata,
  tensors: readonly StoredTensor[],
): Promise<void> {
  const alignment = metadata.get('general.alignment');
  const boundary = alignment?.type === 'uint32' ? alignment.value : defaultAlignment;
  const padding = (bytes: number): Uint8Array => new Uint8Array(aligned(bytes, boundary) - bytes);
  await streamFileAtomically(path, async (file) => {
    const header = headerBytes(metadata, tensors, boundary);
    await file.writeFile(header);
    await file.writeFile(padding(header.length));
    for (const tensor of tensors) {
      await writeElements(file, tensor);
      await file.writeFile(padding(encodedBytes(tensor.encoding, elementCount(tensor.shape))));
    }
  });
}

function headerBytes(metadata: GgufMetadata, tensors: readonly StoredTensor[], boundary: number): Uint8Array {
  const out = new ByteSink();
  out.uint32(magic);
  out.uint32(3);
  out.uint64(BigInt(tensors.length));
  out.uint64(BigInt(metadata.size));
  for (const [key, value] of metadata) {
    out.string(key);
    out.uint32(valueTypes.indexOf(value.type));
    writeValue(out, value);
  }
  let offset = 0;
  for (const { name, shape, encoding } of tensors) {
    out.string(name);
    out.uint32(shape.length);
    for (const extent of shape.toReversed()) out.uint64(BigInt(extent));
    out.uint32(tensorTypeOf(encoding));
    out.uint64(BigInt(offset));
    offset = aligned(offset + encodedBytes(encoding, elementCount(shape)), boundary);
  }
  return out.bytes();
}

function writeValue(out: ByteSink, value: GgufValue): void {
  if (value.type !== 'array') return writeScalar(out, value.type, value.value);
  if (value.items === 'array') throw new RangeError('arrays of arrays are read, never written');
  out.uint32(valueTypes.indexOf(value.items));
  out.uint64(BigInt(value.value.length));
  for (const item of value.value) writeScalar(out, value.items, item);
}

function writeScalar(out: ByteSink, type: Exclude<GgufValueType, 'array'>, value: GgufItem): void {
  if (typeof value === 'string') out.string(value);
  else if (typeof value === 'bigint') out.uint64(BigInt.asUintN(64, value));
  else out.number(type as NumberType, Number(value));
}

type NumberType = Exclude<GgufValueType, 'array' | 'string' | 'uint64' | 'int64'>;

/** A growing buffer, little-endian. */
class ByteSink {
  #buffer = new Uint8Array(2 ** 16);
  #view = new DataView(this.#buffer.buffer);
  #length = 0;

  bytes(): Uint8Array {
    return this.#buffer.subarray(0, this.#length);
  }

  uint32(value: number): void {
    this.#append(4, (view, at) => view.setUint32(at, value, true));
  }

  uint64(value: bigint): void {
    this.#append(8, (view, at) => view.setBigUint64(at, value, true));
  }

  string(value: string): void {
    const bytes = new TextEncoder().encode(value);
    this.uint64(BigInt(bytes.length));
    this.#append(bytes.length, (_, at) => this.#buffer.set(bytes, at));
  }

  number(type: NumberType, value: number): void {
    switch (type) {
      case 'bool':
      case 'uint8':
        return this.#append(1, (view, at) => view.setUint8(at, value));
      case 'int8':
        return this.#append(1, (view, at) => view.setInt8(at, value));
      case 'uint16':
        return this.#append(2, (view, at) => view.setUint16(at, value, true));
      case 'int16':
        return this.#append(2, (view, at) => view.setInt16(at, value, true));
      case 'uint32':
        return this.uint32(value);
      case 'int32':
        return this.#append(4, (view, at) => view.setInt32(at, value, true));
      case 'float32':
        return this.#append(4, (view, at) => view.setFloat32(at, value, true));
      case 'float64':
        return this.#append(8, (view, at) => view.setFloat64(at, value, true));
    }
  }

  /** Makes room for `length` bytes at the end, which may move all to a larger buffer, and only then writes them. */
  #append(length: number, write: (view: DataView, at: number) => void): void {
    const start = this.#length;
    this.#length += length;
    if (this.#length > this.#buffer.length) {
      const larger = new Uint8Array(2 ** Math.ceil(Math.log2(this.#length + 1)));
      larger.set(this.#buffer);
      [this.#buffer, this.#view] = [larger, new DataView(larger.buffer)];
    }
    write(this.#view, start);
  }
}
