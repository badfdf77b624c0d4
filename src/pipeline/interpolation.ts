/** Weights on the way from one set to another. */
import type { Weights } from '../blocks/index.ts';
import { float32, type StoredTensor } from '../tensor/index.ts';

/** a + share (b - a), name by name; nothing is read before it is asked for. */
export function between(
  a: Weights<StoredTensor>,
  b: Weights<StoredTensor>,
  share: number,
): Weights<StoredTensor> {
  if (share === 1) return b;
  return Object.fromEntries(
    Object.entries(b).map(([name, end]) => [
      name,
      {
        ...end,
        load: async () => {
          const [from, to] = [(await a[name]!.load()).data, (await end.load()).data];
          return float32(
            from.map((value, i) => value + share * (to[i]! - value)),
            end.shape,
          );
        },
      },
    ]),
  );
}
