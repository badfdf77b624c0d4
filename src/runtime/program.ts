/** A graph as the runtime sees it: ONNX bytes, the hash that names them, and what fits its inputs. */
import { encode, type Graph, type TensorType } from '../graph/index.ts';
import { sha256 } from '../util/hash.ts';

export interface Program {
  /** Names the graph in error messages. */
  readonly label: string;
  readonly hash: string;
  readonly bytes: Uint8Array;
  readonly inputs: Readonly<Record<string, TensorType>>;
  readonly outputs: Readonly<Record<string, TensorType>>;
}

const known = new WeakMap<Graph, Program>();

/** The program of a graph; encoded and hashed once per graph object. */
export function programOf(graph: Graph): Program {
  const cached = known.get(graph);
  if (cached !== undefined) return cached;
  const { inputs, outputs, nodes } = graph;
  const bytes = encode(graph);
  const label = `graph of ${Object.keys(outputs).join(', ')} (${nodes.length} nodes)`;
  const program: Program = { label, hash: sha256(bytes), bytes, inputs, outputs };
  known.set(graph, program);
  return program;
}

/** @throws RangeError naming the first feed that is missing, unknown or of another type than its input. */
export function checkFeeds({ label, inputs }: Program, feeds: Readonly<Record<string, TensorType>>): void {
  for (const [name, type] of Object.entries(inputs)) {
    const feed = feeds[name];
    if (feed === undefined) throw new RangeError(`${label}: input ${name} is not fed`);
    if (describe(feed) !== describe(type)) {
      throw new RangeError(`${label}: input ${name} is ${describe(type)}, not ${describe(feed)}`);
    }
  }
  const unknown = Object.keys(feeds).find((name) => inputs[name] === undefined);
  if (unknown !== undefined) throw new RangeError(`${label}: it has no input ${unknown}`);
}

const describe = ({ dtype, shape }: TensorType): string => `${dtype}[${shape.join(', ')}]`;
