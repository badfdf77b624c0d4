/** A graph as the runtime sees it: an ONNX model, the hash that names it, and what fits its inputs. */
import { readFile } from 'node:fs/promises';
import { encode, type Extent, type Graph, type TensorType } from '../graph/index.ts';
import type { DType, Shape } from '../tensor/tensor.ts';
import { sha256 } from '../util/hash.ts';

/** Of an input or output; axes of a name have the length that a run's feeds give them. */
export interface PortType {
  readonly dtype: DType;
  readonly shape: readonly Extent[];
}

export interface Program {
  /** Names the graph in error messages. */
  readonly label: string;
  readonly hash: string;
  /** Its ONNX bytes, or the file that ONNX Runtime reads itself, as a model with external data needs. */
  readonly model: Uint8Array | string;
  readonly inputs: Readonly<Record<string, PortType>>;
  readonly outputs: Readonly<Record<string, PortType>>;
}

const known = new WeakMap<Graph, Program>();

/** The program of a graph; encoded and hashed once per graph object. */
export function programOf(graph: Graph): Program {
  const cached = known.get(graph);
  if (cached !== undefined) return cached;
  const { nodes, shapes } = graph;
  const model = encode(graph);
  const label = `graph of ${Object.keys(graph.outputs).join(', ')} (${nodes.length} nodes)`;
  const ports = (values: Readonly<Record<string, TensorType>>): Program['inputs'] =>
    Object.fromEntries(
      Object.entries(values).map(([name, { dtype, shape }]) => [
        name,
        { dtype, shape: shapes[name] ?? shape },
      ]),
    );
  const program: Program = {
    label,
    hash: sha256(model),
    model,
    inputs: ports(graph.inputs),
    outputs: ports(graph.outputs),
  };
  known.set(graph, program);
  return program;
}

/** The program in an ONNX file; its external data lies beside it. */
export async function programOfFile(
  path: string,
  ports: Pick<Program, 'inputs' | 'outputs'>,
): Promise<Program> {
  return { ...ports, label: path, hash: sha256(`${path}\0${sha256(await readFile(path))}`), model: path };
}

/** Lengths of a program's symbolic axes in one run. */
export type Lengths = ReadonlyMap<string, number>;

/**
 * Checks feeds against inputs and finds the lengths of symbolic axes.
 * @throws RangeError naming the first feed that is missing, unknown or of another type than its input.
 */
export function checkFeeds({ label, inputs }: Program, feeds: Readonly<Record<string, TensorType>>): Lengths {
  const lengths = new Map<string, number>();
  for (const [name, type] of Object.entries(inputs)) {
    const feed = feeds[name];
    if (feed === undefined) throw new RangeError(`${label}: input ${name} is not fed`);
    type.shape.forEach((extent, axis) => {
      const length = feed.shape[axis];
      if (typeof extent === 'string' && length !== undefined && !lengths.has(extent))
        lengths.set(extent, length);
    });
    const wanted = { ...type, shape: shapeWith(lengths, type.shape) };
    if (describe(feed) !== describe(wanted)) {
      throw new RangeError(`${label}: input ${name} is ${describe(wanted)}, not ${describe(feed)}`);
    }
  }
  const unknown = Object.keys(feeds).find((name) => inputs[name] === undefined);
  if (unknown !== undefined) throw new RangeError(`${label}: it has no input ${unknown}`);
  return lengths;
}

/**
 * The type of an output in a run.
 * @throws RangeError where no input has an axis of a length that it has.
 */
export function outputType({ label, outputs }: Program, name: string, lengths: Lengths): TensorType {
  const { dtype, shape } = outputs[name]!;
  const definite = shapeWith(lengths, shape);
  if (definite.every((extent) => typeof extent === 'number')) return { dtype, shape: definite as Shape };
  throw new RangeError(`${label}: nothing fed says how large ${name} is`);
}

const shapeWith = (lengths: Lengths, shape: readonly Extent[]): readonly Extent[] =>
  shape.map((extent) => (typeof extent === 'string' ? (lengths.get(extent) ?? extent) : extent));

const describe = ({ dtype, shape }: PortType): string => `${dtype}[${shape.join(', ')}]`;
