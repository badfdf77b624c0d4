/** A graph as the runtime sees it: an ONNX model, the hash that names it, and what fits its inputs. */
import {
  encode,
  outputTypes,
  type ExternalData,
  type Extent,
  type Graph,
  type TensorType,
} from '../graph/index.ts';
import { byteSize, type DType, type Shape, type Tensor } from '../tensor/tensor.ts';
import { sha256 } from '../util/hash.ts';

/** Of an input or output; axes of a name have the length that a run's feeds give them. */
export interface PortType {
  readonly dtype: DType;
  readonly shape: readonly Extent[];
}

export interface Ports {
  readonly inputs: Readonly<Record<string, PortType>>;
  readonly outputs: Readonly<Record<string, PortType>>;
}

/** Something that can be run, as messages and the cache of sessions know it. */
export interface Program extends Ports {
  /** Names the graph in error messages. */
  readonly label: string;
  readonly hash: string;
}

/** A program that is compiled where it is first run. */
export interface GraphProgram extends Program {
  readonly bytes: Uint8Array;
  /** Of all values that a run computes, outputs among them. */
  readonly transientBytes: number;
}

const known = new WeakMap<Graph, GraphProgram>();

/** The program of a graph; encoded and hashed once per graph object. */
export function programOf(graph: Graph): GraphProgram {
  const cached = known.get(graph);
  if (cached !== undefined) return cached;
  const program = encoded(graph);
  known.set(graph, program);
  return program;
}

/** The program of a graph that has some of its inputs as weights, each in a file of its name. */
export function programWith(graph: Graph, weights: Readonly<Record<string, Tensor>>): GraphProgram {
  const files = Object.entries(weights).map(
    ([file, { data }]) => [file, { file, offset: 0, length: data.byteLength }] as const,
  );
  return encoded(graph, new Map(files));
}

function encoded(graph: Graph, external?: ReadonlyMap<string, ExternalData>): GraphProgram {
  const bytes = encode(graph, external);
  const portsOf = (values: Readonly<Record<string, TensorType>>): Ports['inputs'] =>
    Object.fromEntries(
      Object.entries(values)
        .filter(([name]) => external?.has(name) !== true)
        .map(([name, { dtype, shape }]) => [name, { dtype, shape: graph.shapes[name] ?? shape }]),
    );
  return {
    label: `graph of ${Object.keys(graph.outputs).join(', ')} (${graph.nodes.length} nodes)`,
    hash: sha256(bytes),
    bytes,
    transientBytes: graph.nodes
      .filter(({ op }) => op !== 'input' && op !== 'constant')
      .flatMap(outputTypes)
      .reduce((sum, type) => sum + (type === undefined ? 0 : byteSize(type)), 0),
    inputs: portsOf(graph.inputs),
    outputs: portsOf(graph.outputs),
  };
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
