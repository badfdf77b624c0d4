/** The weights of one block as a file of a job. */
import type { Weights } from '../blocks/index.ts';
import {
  inMemory,
  openSafetensors,
  writeSafetensors,
  type StoredTensor,
  type Tensor,
  type TensorFile,
} from '../tensor/index.ts';

export const writeWeights = (path: string, weights: Weights<Tensor<'float32'>>): Promise<unknown> =>
  writeSafetensors(
    path,
    Object.entries(weights).map(([name, tensor]) => inMemory(name, tensor)),
  );

/** Every weight, read. */
export const loadWeights = (path: string): Promise<Weights<Tensor<'float32'>>> =>
  withTensors(path, ({ tensors }) => loadStored(Object.fromEntries(tensors)));

/** Weights that were unread, read one after the other. */
export async function loadStored(stored: Weights<StoredTensor>): Promise<Weights<Tensor<'float32'>>> {
  const loaded: Record<string, Tensor<'float32'>> = {};
  for (const [name, tensor] of Object.entries(stored)) loaded[name] = await tensor.load();
  return loaded;
}

/** Every weight, unread: the file is open only while something is read, as a student may have hundreds of blocks. */
export const storedWeights = async (path: string): Promise<Weights<StoredTensor>> => {
  const { tensors } = await withTensors(path, async (file) => file);
  return Object.fromEntries(
    [...tensors].map(([name, tensor]) => [
      name,
      { ...tensor, load: () => withTensors(path, (file) => file.tensors.get(name)!.load()) },
    ]),
  );
};

async function withTensors<T>(path: string, use: (file: TensorFile) => Promise<T>): Promise<T> {
  const file = await openSafetensors(path);
  try {
    return await use(file);
  } finally {
    await file.close();
  }
}
