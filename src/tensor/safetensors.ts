/**
 * Safetensors files, single or sharded: header checked whole, tensors read one at a time.
 * Format: 8 bytes header length, JSON header, then the tensors without gap or overlap
 * (https://github.com/huggingface/safetensors#format).
 */
import { join } from 'node:path';
import { z } from 'zod';
import { PuzzleError } from '../util/errors.ts';
import { checkAgainst, parseJson } from '../util/json.ts';
import { encodedBytes } from './encoding.ts';
import { decodeUtf8, FileReader, invalid, readText, truncated } from './file-reader.ts';
import { storedTensor, type StoredTensor, type TensorFile } from './stored-tensor.ts';
import { elementCount } from './tensor.ts';

/** The limit of the reference implementation; a longer header is a corrupt length. */
const maximumHeaderBytes = 100_000_000;

/** The float types of the format that models come in. */
const floatTypes = ['F64', 'F32', 'F16', 'BF16'] as const;
const isFloatType = (dtype: string): dtype is (typeof floatTypes)[number] =>
  floatTypes.some((floatType) => floatType === dtype);

const extent = z.int().nonnegative();
const tensorSchema = z.strictObject({
  dtype: z.string(),
  shape: z.array(extent),
  data_offsets: z.tuple([extent, extent]),
});
const metadataSchema = z.record(z.string(), z.string());

const fix = 'Download or write the file again.';

/**
 * Opens one safetensors file.
 * Throws `file-missing`, `file-truncated`, `file-invalid`, or `unsupported-quantisation` for an element type that is
 * not a float.
 */
export async function openSafetensors(path: string): Promise<TensorFile> {
  const file = await FileReader.open(path);
  try {
    const { header, dataStart } = await readHeader(file);
    checkLayout(file, header, dataStart);
    const tensors = new Map<string, StoredTensor>();
    for (const [name, { dtype, shape, data_offsets }] of header) {
      if (!isFloatType(dtype)) throw unsupported(path, name, dtype);
      tensors.set(name, storedTensor(file, dataStart + data_offsets[0], name, shape, dtype));
    }
    return { paths: [path], tensors, close: () => file.close() };
  } catch (error) {
    await file.close();
    throw error;
  }
}

const indexSchema = z.looseObject({ weight_map: z.record(z.string(), z.string()) });

/** Opens the weights of a model folder: `model.safetensors`, or the shards of `model.safetensors.index.json`. */
export async function openSafetensorsFolder(folder: string): Promise<TensorFile> {
  const index = await readIfPresent(join(folder, 'model.safetensors.index.json'));
  return index === undefined
    ? openSafetensors(join(folder, 'model.safetensors'))
    : openShards(folder, index.path, index.text);
}

async function openShards(folder: string, path: string, text: string): Promise<TensorFile> {
  const { weight_map } = checkAgainst(indexSchema, parseJson(text, path), path, fix);
  const shards = new Map<string, TensorFile>();
  const close = async (): Promise<void> => {
    await Promise.all(Array.from(shards.values(), (shard) => shard.close()));
  };
  try {
    const tensors = new Map<string, StoredTensor>();
    for (const [name, fileName] of Object.entries(weight_map)) {
      if (!/^[^/\\]+\.safetensors$/.test(fileName)) {
        throw invalid(
          path,
          `${name} is said to be in ${fileName}, which is no safetensors file beside it`,
          fileName,
        );
      }
      const shard = shards.get(fileName) ?? (await openSafetensors(join(folder, fileName)));
      shards.set(fileName, shard);
      const tensor = shard.tensors.get(name);
      if (tensor === undefined) throw invalid(path, `${fileName} does not hold ${name}`, fileName);
      tensors.set(name, tensor);
    }
    const paths = [
      path,
      ...Array.from(shards.keys())
        .sort()
        .map((fileName) => join(folder, fileName)),
    ];
    return { paths, tensors, close };
  } catch (error) {
    await close();
    throw error;
  }
}

async function readIfPresent(path: string): Promise<{ path: string; text: string } | undefined> {
  try {
    return { path, text: await readText(path) };
  } catch (error) {
    if (error instanceof PuzzleError && error.code === 'file-missing') return undefined;
    throw error;
  }
}

type Header = readonly (readonly [string, z.infer<typeof tensorSchema>])[];

async function readHeader(file: FileReader): Promise<{ header: Header; dataStart: number }> {
  const lengthBytes = await file.read(0, 8);
  const headerBytes = Number(new DataView(lengthBytes.buffer).getBigUint64(0, true));
  if (headerBytes > maximumHeaderBytes)
    throw invalid(file.path, `its header claims ${headerBytes} bytes`, headerBytes);
  const text = decodeUtf8(await file.read(8, headerBytes), file.path);
  const content = parseJson(text, file.path);
  const { __metadata__ } = checkAgainst(z.record(z.string(), z.unknown()), content, file.path, fix);
  if (__metadata__ !== undefined)
    checkAgainst(metadataSchema, __metadata__, `${file.path}: __metadata__`, fix);
  // One by one: a record schema leaves out a tensor named `__proto__`.
  const header = Object.entries(content as Record<string, unknown>)
    .filter(([name]) => name !== '__metadata__')
    .map(
      ([name, tensor]) => [name, checkAgainst(tensorSchema, tensor, `${file.path}: ${name}`, fix)] as const,
    )
    .sort(([, a], [, b]) => a.data_offsets[0] - b.data_offsets[0] || a.data_offsets[1] - b.data_offsets[1]);
  return { header, dataStart: 8 + headerBytes };
}

/** Tensors follow each other without gap or overlap up to the end of the file, and shapes fill their bytes. */
function checkLayout(file: FileReader, header: Header, dataStart: number): void {
  let end = 0;
  for (const [name, { dtype, shape, data_offsets }] of header) {
    const at = `${file.path}: ${name}`;
    if (data_offsets[0] !== end) {
      throw invalid(at, `its bytes start at ${data_offsets[0]} where ${end} was due`, data_offsets);
    }
    end = data_offsets[1];
    const bytes = isFloatType(dtype) ? encodedBytes(dtype, elementCount(shape)) : end - data_offsets[0];
    if (data_offsets[0] + bytes !== end) {
      throw invalid(at, `shape [${shape.join(', ')}] of ${dtype} does not fill its bytes`, data_offsets);
    }
  }
  if (dataStart + end > file.sizeBytes) throw truncated(file.path, dataStart + end, file.sizeBytes);
  if (dataStart + end < file.sizeBytes) {
    throw invalid(
      file.path,
      `${file.sizeBytes - dataStart - end} bytes follow its last tensor`,
      file.sizeBytes,
    );
  }
}

const unsupported = (path: string, name: string, dtype: string): PuzzleError =>
  new PuzzleError('unsupported-quantisation', `${path}: ${name} has elements of type ${dtype}.`, {
    at: `${path}: ${name}`,
    value: dtype,
    fix: 'Use a checkpoint in F32, F16 or BF16, or a GGUF file.',
  });
