/** The identity of a model: a hash of its files' content, so that a moved or renamed model keeps its finished jobs. */
import { createHash, type Hash } from 'node:crypto';
import { FileReader } from '../tensor/index.ts';

/** Files up to this size are hashed whole: half a second. */
const wholeFileBytes = 512 * 2 ** 20;
/** Larger files: this many samples, evenly spaced, the first and the last bytes among them. */
const samples = 4096;
const sampleBytes = 64 * 2 ** 10;

/**
 * sha256 over the files in order: size, then content; of files over 512 MiB, 4096 samples of 64 KiB. Names and
 * dates do not count. Training or quantising again changes every tensor, so samples see it; a single edited value
 * in a file over 512 MiB may go unseen.
 */
export async function contentIdentity(paths: readonly string[]): Promise<string> {
  const hash = createHash('sha256');
  for (const path of paths) {
    const file = await FileReader.open(path);
    try {
      await addFile(hash, file);
    } finally {
      await file.close();
    }
  }
  return hash.digest('hex');
}

async function addFile(hash: Hash, file: FileReader): Promise<void> {
  hash.update(`${file.sizeBytes}\n`);
  if (file.sizeBytes > wholeFileBytes) {
    for (let i = 0; i < samples; i++) {
      const position = Math.floor((i * (file.sizeBytes - sampleBytes)) / (samples - 1));
      hash.update(await file.read(position, sampleBytes));
    }
    return;
  }
  const piece = 2 ** 22;
  for (let position = 0; position < file.sizeBytes; position += piece) {
    hash.update(await file.read(position, Math.min(piece, file.sizeBytes - position)));
  }
}
