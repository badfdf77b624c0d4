/** Positioned reads from one file; a file that ends early is a coded error, never a short buffer. */
import { readSync } from 'node:fs';
import { open, type FileHandle } from 'node:fs/promises';
import { PuzzleError } from '../util/errors.ts';

/** Bytes per system call: below the 2 GiB limit, large enough that calls cost nothing. */
const pieceBytes = 64 * 2 ** 20;

/** An open file. Whoever opens it closes it. */
export class FileReader {
  readonly path: string;
  readonly sizeBytes: number;
  readonly #handle: FileHandle;

  private constructor(path: string, sizeBytes: number, handle: FileHandle) {
    this.path = path;
    this.sizeBytes = sizeBytes;
    this.#handle = handle;
  }

  /** Throws `file-missing`, or `file-invalid` for what is not a readable file. */
  static async open(path: string): Promise<FileReader> {
    let handle: FileHandle | undefined;
    try {
      handle = await open(path, 'r');
      const stats = await handle.stat();
      if (stats.isFile()) return new FileReader(path, stats.size, handle);
    } catch (error) {
      await handle?.close();
      if (isMissing(error)) throw missing(path, error);
      throw unreadable(path, error);
    }
    await handle.close();
    throw unreadable(path);
  }

  /** Fills `target` from `position` on. Throws `file-truncated` where the file ends first. */
  async readInto(target: Uint8Array, position: number): Promise<void> {
    for (let done = 0; done < target.length;) {
      const length = Math.min(pieceBytes, target.length - done);
      const { bytesRead } = await this.#handle.read(target, done, length, position + done);
      if (bytesRead === 0) throw truncated(this.path, position + target.length, this.sizeBytes);
      done += bytesRead;
    }
  }

  /** A fresh buffer of `length` bytes from `position` on; allocated only if the file is long enough. */
  async read(position: number, length: number): Promise<Uint8Array> {
    if (position + length > this.sizeBytes) throw truncated(this.path, position + length, this.sizeBytes);
    const bytes = new Uint8Array(length);
    await this.readInto(bytes, position);
    return bytes;
  }

  /** Up to `target.length` bytes from `position` on, at once: for parsers that step through a header. */
  readSync(target: Uint8Array, position: number): number {
    return readSync(this.#handle.fd, target, 0, target.length, position);
  }

  async close(): Promise<void> {
    await this.#handle.close();
  }
}

/** A whole file as UTF-8 text. Throws `file-missing`, `file-invalid`. */
export async function readText(path: string): Promise<string> {
  const file = await FileReader.open(path);
  try {
    return decodeUtf8(await file.read(0, file.sizeBytes), path);
  } finally {
    await file.close();
  }
}

/** UTF-8 text; throws `file-invalid` naming `path`. A byte-order mark is dropped. */
export function decodeUtf8(bytes: Uint8Array, path: string): string {
  try {
    return new TextDecoder('utf-8', { fatal: true }).decode(bytes);
  } catch (cause) {
    throw invalid(path, 'it is not UTF-8 text', undefined, cause);
  }
}

const isMissing = (error: unknown): boolean =>
  error instanceof Error && ['ENOENT', 'ENOTDIR'].includes((error as NodeJS.ErrnoException).code ?? '');

const missing = (path: string, cause: unknown): PuzzleError =>
  new PuzzleError('file-missing', `There is no file ${path}.`, { at: path, fix: 'Check the path.', cause });

const unreadable = (path: string, cause?: unknown): PuzzleError =>
  new PuzzleError('file-invalid', `${path} cannot be read as a file.`, {
    at: path,
    fix: 'Name a regular file that you may read.',
    cause,
  });

/** The error of a file that should have gone on. */
export const truncated = (path: string, neededBytes: number, sizeBytes: number): PuzzleError =>
  new PuzzleError(
    'file-truncated',
    `${path} is cut off: ${neededBytes} bytes needed, ${sizeBytes} present.`,
    {
      at: path,
      value: sizeBytes,
      fix: 'Download or copy the file again.',
      details: { neededBytes, sizeBytes },
    },
  );

/** The error of a file whose content breaks its format. */
export const invalid = (path: string, problem: string, value?: unknown, cause?: unknown): PuzzleError =>
  new PuzzleError('file-invalid', `${path} is not valid: ${problem}.`, {
    at: path,
    value,
    fix: 'Download or write the file again.',
    cause,
  });
