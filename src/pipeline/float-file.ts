/** Float32 numbers as a file of a job, without a header. */
import { readFile, writeFile } from 'node:fs/promises';

export const writeFloats = (path: string, { buffer, byteOffset, byteLength }: Float32Array): Promise<void> =>
  writeFile(path, new Uint8Array(buffer, byteOffset, byteLength));

export async function readFloats(path: string): Promise<Float32Array> {
  const { buffer, byteOffset, byteLength } = await readFile(path);
  return new Float32Array(buffer.slice(byteOffset, byteOffset + byteLength));
}
