/** GGUF files: metadata and tensor table checked whole, tensors read and dequantised one at a time. */
import { PuzzleError } from '../util/errors.ts';
import { encodedBytes, encodings, isEncoding } from './encoding.ts';
import { FileReader, invalid, truncated } from './file-reader.ts';
import {
  aligned,
  defaultAlignment,
  magic,
  tensorTypes,
  valueBytes,
  valueTypes,
  type GgufMetadata,
  type GgufValue,
  type GgufValueType,
} from './gguf-format.ts';
import { HeaderCursor } from './header-cursor.ts';
import { storedTensor, type StoredTensor, type TensorFile } from './stored-tensor.ts';
import { elementCount, type Shape } from './tensor.ts';

export interface GgufFile extends TensorFile {
  readonly metadata: GgufMetadata;
}

/** ggml's GGML_MAX_DIMS. */
const maximumDimensions = 4;
/** Arrays of arrays are legal; more than this is a corrupt file. */
const maximumNesting = 4;

/**
 * Opens a GGUF file, version 2 or 3. Shapes are given outermost first: a matrix is (out, in).
 * Throws `file-missing`, `file-truncated`, `file-invalid`, `unsupported-quantisation`.
 */
export async function openGguf(path: string): Promise<GgufFile> {
  const file = await FileReader.open(path);
  try {
    const cursor = new HeaderCursor(file);
    const { tensorCount, valueCount } = readPreamble(cursor, path);
    const metadata = readMetadata(cursor, path, valueCount);
    const table = readTable(cursor, path, tensorCount);
    const dataStart = aligned(cursor.position, alignmentOf(metadata, path));
    checkLayout(file, table, dataStart);
    const tensors = new Map<string, StoredTensor>();
    for (const { name, shape, encoding, offset } of table) {
      tensors.set(name, storedTensor(file, dataStart + offset, name, shape, encoding));
    }
    return { paths: [path], metadata, tensors, close: () => file.close() };
  } catch (error) {
    await file.close();
    throw error;
  }
}

function readPreamble(cursor: HeaderCursor, path: string): { tensorCount: number; valueCount: number } {
  if (cursor.uint32() !== magic) throw invalid(path, 'it does not start with "GGUF"');
  const version = cursor.uint32();
  if (version !== 2 && version !== 3) {
    throw invalid(
      path,
      `version ${version} of GGUF is not readable (big-endian files and version 1 are not)`,
      version,
    );
  }
  // Least sizes: a name's length, dimensions, type and offset; a key's length, a type and a byte.
  const tensorCount = cursor.count(8 + 4 + 4 + 8, 'tensors');
  const valueCount = cursor.count(8 + 4 + 1, 'metadata values');
  return { tensorCount, valueCount };
}

function readMetadata(cursor: HeaderCursor, path: string, count: number): Map<string, GgufValue> {
  const metadata = new Map<string, GgufValue>();
  for (let i = 0; i < count; i++) {
    const key = cursor.string();
    if (metadata.has(key)) throw invalid(path, `metadata key ${key} occurs twice`, key);
    const type = readType(cursor, `${path}: ${key}`);
    metadata.set(key, readValue(cursor, type, `${path}: ${key}`, 0));
  }
  return metadata;
}

function readType(cursor: HeaderCursor, at: string): GgufValueType {
  const number = cursor.uint32();
  const type = valueTypes[number];
  if (type === undefined) throw invalid(at, `${number} is no type of metadata`, number);
  return type;
}

function readValue(cursor: HeaderCursor, type: GgufValueType, at: string, depth: number): GgufValue {
  if (type !== 'array') return readScalar(cursor, type);
  if (depth > maximumNesting) throw invalid(at, 'its arrays are nested too deeply', depth);
  const items = readType(cursor, at);
  const length = cursor.count(valueBytes[items] ?? 8, `items of ${at}`);
  const value = Array.from({ length }, () => readValue(cursor, items, at, depth + 1).value);
  return { type, items, value };
}

const readScalar = (cursor: HeaderCursor, type: Exclude<GgufValueType, 'array'>): GgufValue => {
  switch (type) {
    case 'bool':
      return { type, value: cursor.uint8() !== 0 };
    case 'string':
      return { type, value: cursor.string() };
    case 'uint64':
    case 'int64':
      return { type, value: cursor[type]() };
    default:
      return { type, value: cursor[type]() };
  }
};

interface TableEntry {
  readonly name: string;
  readonly shape: Shape;
  readonly encoding: StoredTensor['encoding'];
  /** From the start of the data. */
  readonly offset: number;
}

function readTable(cursor: HeaderCursor, path: string, count: number): TableEntry[] {
  const names = new Set<string>();
  return Array.from({ length: count }, () => {
    const name = cursor.string();
    const at = `${path}: ${name}`;
    if (names.has(name)) throw invalid(at, 'the tensor occurs twice', name);
    names.add(name);
    const dimensions = cursor.uint32();
    if (dimensions > maximumDimensions) throw invalid(at, `it claims ${dimensions} dimensions`, dimensions);
    // GGUF lists the innermost extent first.
    const shape = Array.from({ length: dimensions }, () => Number(cursor.uint64())).toReversed();
    const type = cursor.uint32();
    const encoding = tensorTypes.get(type) ?? `type ${type}`;
    if (!isEncoding(encoding)) throw unsupported(at, encoding);
    if (!Number.isSafeInteger(elementCount(shape)))
      throw invalid(at, `it claims shape [${shape.join(', ')}]`, shape);
    const { blockElements } = encodings[encoding];
    if ((shape.at(-1) ?? 1) % blockElements !== 0) {
      throw invalid(at, `rows of ${shape.at(-1)} elements are no whole blocks of ${blockElements}`, shape);
    }
    return { name, shape, encoding, offset: Number(cursor.uint64()) };
  });
}

function alignmentOf(metadata: GgufMetadata, path: string): number {
  const value = metadata.get('general.alignment');
  if (value === undefined) return defaultAlignment;
  if (value.type !== 'uint32' || value.value === 0 || value.value % 8 !== 0) {
    throw invalid(`${path}: general.alignment`, 'an alignment is a positive multiple of 8', value.value);
  }
  return value.value;
}

/** Tensors lie inside the file and on no byte twice. */
function checkLayout(file: FileReader, table: readonly TableEntry[], dataStart: number): void {
  let end = 0;
  for (const { name, shape, encoding, offset } of table.toSorted((a, b) => a.offset - b.offset)) {
    if (!Number.isSafeInteger(offset) || offset < end) {
      throw invalid(`${file.path}: ${name}`, `its bytes start at ${offset}, inside another tensor`, offset);
    }
    end = offset + encodedBytes(encoding, elementCount(shape));
  }
  if (dataStart + end > file.sizeBytes) throw truncated(file.path, dataStart + end, file.sizeBytes);
}

const unsupported = (at: string, encoding: string): PuzzleError =>
  new PuzzleError('unsupported-quantisation', `${at} is stored as ${encoding}, which is not decoded.`, {
    at,
    value: encoding,
    fix: `Use a file whose tensors are of ${Object.keys(encodings).join(', ')}.`,
  });
