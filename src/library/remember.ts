/** Graphs made once per process: the runtime knows a graph again by identity, and compiles it once. */
import type { Graph } from '../graph/index.ts';

const graphs = new Map<string, Graph>();

/** The graph of this key, made at the first call. */
export function remember(key: readonly unknown[], make: () => Graph): Graph {
  const name = JSON.stringify(key);
  const known = graphs.get(name) ?? make();
  graphs.set(name, known);
  return known;
}
