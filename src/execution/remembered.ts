/** Graphs made once per process: the runtime knows a graph again by identity, and compiles it once. */
import { graph, type Graph, type Value } from '../graph/index.ts';

const graphs = new Map<string, Graph>();

/** The graph of this key, made at the first call. */
export function remember(key: readonly unknown[], make: () => Graph): Graph {
  const name = JSON.stringify(key);
  const known = graphs.get(name) ?? make();
  graphs.set(name, known);
  return known;
}

/** The graph of these outputs, built at the first call with this key. */
export const remembered = (key: readonly unknown[], outputs: () => Readonly<Record<string, Value>>): Graph =>
  remember(key, () => graph(outputs()));
