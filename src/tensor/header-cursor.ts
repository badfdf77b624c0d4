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

  uint8 = (): number => this.#view.getUint8(this.#take(1));
  int8 = (): number => this.#view.getInt8(this.#take(1));
  uint16 = (): number => this.#view.getUint16(this.#take(2), true);
  int16 = (): number => this.#view.getInt16(this.#take(2), true);
  uint32 = (): number => this.#view.getUint32(this.#take(4), true);
  int32 = (): number => this.#view.getInt32(this.#take(4), true);
  uint64 = (): bigint => this.#view.getBigUint64(this.#take(8), true);
  int64 = (): bigint => this.#view.getBigInt64(this.#take(8), true);
  float32 = (): number => this.#view.getFloat32(this.#take(4), true);
  float64 = (): number => this.#view.getFloat64(this.#take(8), true);

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
