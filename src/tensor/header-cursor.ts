/** Steps through the header of a binary file, little-endian, a window at a time. */
import { invalid, truncated, type FileReader } from './file-reader.ts';

const windowBytes = 2 ** 20;

/** No vocabulary, template or tensor table comes near: a larger count is corrupt, whatever the file's size. */
const maximumCount = 2n ** 26n;

/** Every read checks what is left of the file first, so that no corrupt length allocates more than the file holds. */
export class HeaderCursor {
  readonly #file: FileReader;
  #window = new Uint8Array(0);
  #view = new DataView(this.#window.buffer);
  /** Where the window starts in the file. */
  #start = 0;
  #offset = 0;

  constructor(file: FileReader) {
    this.#file = file;
  }

  get position(): number {
    return this.#start + this.#offset;
  }

  uint8 = (): number => this.#next(1, (view, at) => view.getUint8(at));
  int8 = (): number => this.#next(1, (view, at) => view.getInt8(at));
  uint16 = (): number => this.#next(2, (view, at) => view.getUint16(at, true));
  int16 = (): number => this.#next(2, (view, at) => view.getInt16(at, true));
  uint32 = (): number => this.#next(4, (view, at) => view.getUint32(at, true));
  int32 = (): number => this.#next(4, (view, at) => view.getInt32(at, true));
  uint64 = (): bigint => this.#next(8, (view, at) => view.getBigUint64(at, true));
  int64 = (): bigint => this.#next(8, (view, at) => view.getBigInt64(at, true));
  float32 = (): number => this.#next(4, (view, at) => view.getFloat32(at, true));
  float64 = (): number => this.#next(8, (view, at) => view.getFloat64(at, true));

  /** A count of items that take at least `itemBytes` each: never more than the file can hold. */
  count(itemBytes: number, what: string): number {
    const count = this.uint64();
    if (count > maximumCount) throw invalid(this.#file.path, `it claims ${count} ${what}`, String(count));
    const end = this.position + Number(count) * itemBytes;
    if (end > this.#file.sizeBytes) throw truncated(this.#file.path, end, this.#file.sizeBytes);
    return Number(count);
  }

  string(): string {
    const length = this.count(1, 'bytes of text');
    const at = this.#take(length);
    return decoder.decode(this.#window.subarray(at, at + length));
  }

  #next<T>(length: number, get: (view: DataView, at: number) => T): T {
    const at = this.#take(length);
    return get(this.#view, at);
  }

  /** Makes the next `length` bytes available in the window and steps over them. */
  #take(length: number): number {
    if (this.#offset + length > this.#window.length) this.#advance(length);
    const at = this.#offset;
    this.#offset += length;
    return at;
  }

  #advance(length: number): void {
    const start = this.position;
    if (start + length > this.#file.sizeBytes)
      throw truncated(this.#file.path, start + length, this.#file.sizeBytes);
    const window = new Uint8Array(Math.min(Math.max(length, windowBytes), this.#file.sizeBytes - start));
    for (let filled = 0; filled < window.length;) {
      const read = this.#file.readSync(window.subarray(filled), start + filled);
      if (read === 0) throw truncated(this.#file.path, start + window.length, start + filled);
      filled += read;
    }
    [this.#window, this.#view, this.#start, this.#offset] = [window, new DataView(window.buffer), start, 0];
  }
}

const decoder = new TextDecoder('utf-8', { ignoreBOM: true });
