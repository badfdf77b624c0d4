/** Graphs that hold for every length of some axes: batch, sequence, cache. */
import { encode } from './encode.ts';
import { graph, type Graph } from './graph.ts';
import type { Extent, Value } from './value.ts';

/** Two choices of lengths without a common factor or a common number, so that no axis is taken for another. */
const probes = [
  [2, 7, 13, 19, 29, 37],
  [3, 11, 17, 23, 31, 41],
] as const;

/**
 * A graph whose inputs and outputs may have axes of any length, named by `symbols`. Values have definite shapes all the
 * same: the graph is made for two choices of lengths, and must come out the same. So no node may hold a length, as
 * `reshape` and `slice` do; kernels that take shapes as inputs (`fused`) are what such graphs are made of.
 *
 * @param outputs the graph's outputs for a choice of lengths
 * @throws RangeError where the two graphs differ in more than the lengths of their inputs and outputs
 */
export function symbolicGraph<S extends string>(
  symbols: readonly S[],
  outputs: (extents: Readonly<Record<S, number>>) => Readonly<Record<string, Value>>,
): Graph {
  if (symbols.length > probes[0].length) throw new RangeError(`at most ${probes[0].length} symbols`);
  const [one, other] = probes.map((lengths) => {
    const extents = Object.fromEntries(symbols.map((symbol, index) => [symbol, lengths[index]!]));
    return graph(outputs(extents as Record<S, number>));
  }) as [Graph, Graph];
  const shapes = symbolicShapes(symbols, one, other);
  const symbolic = { ...one, shapes };
  if (Buffer.compare(encode(symbolic), encode({ ...other, shapes })) !== 0)
    throw new RangeError(`the graph depends on the length of ${symbols.join(', ')}`);
  return symbolic;
}

function symbolicShapes(symbols: readonly string[], one: Graph, other: Graph): Graph['shapes'] {
  const others: Readonly<Record<string, Value>> = { ...other.inputs, ...other.outputs };
  const shapes: Record<string, readonly Extent[]> = {};
  for (const [name, { shape }] of Object.entries<Value>({ ...one.inputs, ...one.outputs })) {
    const lengths = others[name]?.shape ?? [];
    const extents = shape.map((extent, axis) => {
      if (extent === lengths[axis]) return extent;
      const symbol = symbols.find((_, i) => probes[0][i] === extent && probes[1][i] === lengths[axis]);
      if (symbol !== undefined) return symbol;
      throw new RangeError(`axis ${axis} of ${name} is none of ${symbols.join(', ')}`);
    });
    if (extents.some((extent) => typeof extent === 'string')) shapes[name] = extents;
  }
  return shapes;
}
