/** Names, nodes and initializers of one ONNX graph while it is written; a loop's body sees the names around it. */
import type { DType, Shape, Tensor } from '../tensor/tensor.ts';
import type { Graph } from './graph.ts';
import {
  attributeType,
  dataLocation,
  elementType,
  type AttributeProto,
  type DimensionProto,
  type ExternalData,
  type GraphProto,
  type NodeProto,
  type TensorProto,
  type ValueInfoProto,
} from './onnx-schema.ts';
import { outputTypes } from './types.ts';
import type { Extent, FusedAttribute, OperatorKind, TensorType, Value } from './value.ts';

export type EmissionRule<K extends OperatorKind> = (node: Value<K>, scope: Scope) => void;
export type EmissionRules = { readonly [K in OperatorKind]: EmissionRule<K> };

type Attribute = FusedAttribute | GraphProto;
interface FinishOptions {
  /** Outputs before the others. */
  readonly leading?: readonly ValueInfoProto[];
  /** Shapes by name, of outputs that have symbolic ones. */
  readonly shapes?: Graph['shapes'];
}

type NamedValue = readonly [name: string, value: Value];

export class Scope {
  /** Operator domains in use, shared with all bodies. */
  readonly domains: Set<string>;
  /** Names of all outputs of each node that this graph can see. */
  readonly #names: Map<Value, readonly string[]>;
  readonly #counter: { next: number };
  readonly #nodes: NodeProto[] = [];
  readonly #initializers: TensorProto[] = [];
  readonly #integers = new Map<string, string>();

  private constructor(domains: Set<string>, names: Map<Value, readonly string[]>, counter: { next: number }) {
    this.domains = domains;
    this.#names = names;
    this.#counter = counter;
  }

  static root(): Scope {
    return new Scope(new Set(['']), new Map(), { next: 0 });
  }

  child(): Scope {
    return new Scope(this.domains, new Map(this.#names), this.#counter);
  }

  emit(node: Value, rules: EmissionRules): void {
    const rule = rules[node.op] as EmissionRule<OperatorKind>; // the table ties rule and operator together
    rule(node, this);
  }

  /** A name no input or output can have: theirs contain no colon. */
  fresh(stem: string): string {
    return `${stem}:${this.#counter.next++}`;
  }

  setName(value: Value, name: string): void {
    this.#names.set(value, [name]);
  }

  /** Lets nodes write straight to the outputs they are, before anything is emitted. */
  claim(outputs: readonly NamedValue[]): void {
    const [visible, claimed] = [new Set(this.#names.keys()), new Set<string>()];
    for (const [name, value] of outputs) {
      const { owner, index } = place(value);
      const current = this.outputs(owner)[index]!;
      if (visible.has(owner) || owner.op === 'constant' || claimed.has(current)) continue;
      claimed.add(name);
      this.#names.set(owner, this.outputs(owner).with(index, name));
    }
  }

  /** Name of a value, given at first use. */
  name(value: Value): string {
    const { owner, index } = place(value);
    return this.outputs(owner)[index]!;
  }

  /** Names of all outputs of a node. */
  outputs(node: Value): readonly string[] {
    const known = this.#names.get(node);
    if (known !== undefined) return known;
    const names = outputTypes(node).map((type) => (type === undefined ? '' : this.fresh(node.op)));
    this.#names.set(node, names);
    return names;
  }

  inputs(node: Value): readonly string[] {
    return node.inputs.map((value) => this.name(value));
  }

  add(
    opType: string,
    input: readonly string[],
    output: readonly string[],
    attributes: Readonly<Record<string, Attribute>> = {},
    domain = '',
  ): void {
    this.domains.add(domain);
    const attribute = Object.entries(attributes).map(([name, value]) => attributeProto(name, value));
    this.#nodes.push({ input, output, name: output[0]!, opType, domain, attribute });
  }

  initialise(name: string, { dtype, shape, data }: Tensor): void {
    const rawData = new Uint8Array(data.buffer, data.byteOffset, data.byteLength);
    this.#initializers.push({ dims: shape, dataType: elementType[dtype], name, rawData });
  }

  initialiseExternally(
    name: string,
    { dtype, shape }: TensorType,
    { file, offset, length }: ExternalData,
  ): void {
    const place = { location: file, offset: String(offset), length: String(length) };
    this.#initializers.push({
      dims: shape,
      dataType: elementType[dtype],
      name,
      externalData: Object.entries(place).map(([key, value]) => ({ key, value })),
      dataLocation: dataLocation.external,
    });
  }

  /** A list of int64 (axes, extents), shared by all who need the same. */
  integers(values: readonly number[]): string {
    return this.#int64(values, [values.length]);
  }

  integer(value: number): string {
    return this.#int64([value], []);
  }

  #int64(values: readonly number[], shape: Shape): string {
    const key = `${shape.length}:${values.join()}`;
    const known = this.#integers.get(key);
    if (known !== undefined) return known;
    const name = this.fresh('int64');
    this.#integers.set(key, name);
    this.initialise(name, { dtype: 'int64', shape, data: BigInt64Array.from(values, BigInt) });
    return name;
  }

  /** The whole graph. Outputs that no node could claim (inputs, duplicates) are copied under their names. */
  finish(
    name: string,
    input: readonly ValueInfoProto[],
    outputs: readonly NamedValue[],
    { leading = [], shapes = {} }: FinishOptions = {},
  ): GraphProto {
    for (const [outputName, value] of outputs) {
      const from = this.name(value);
      if (from !== outputName) this.add('Identity', [from], [outputName]);
    }
    const infos = outputs.map(([outputName, { dtype, shape }]) =>
      valueInfo(outputName, { dtype, shape: shapes[outputName] ?? shape }),
    );
    const output = [...leading, ...infos];
    return { node: this.#nodes, name, initializer: this.#initializers, input, output };
  }
}

/** The node that computes a value, and which of its outputs it is. */
const place = (value: Value): { readonly owner: Value; readonly index: number } =>
  value.op === 'result'
    ? { owner: value.inputs[0]!, index: value.attributes.index }
    : { owner: value, index: 0 };

export const valueInfo = (
  name: string,
  { dtype, shape }: { dtype: DType; shape: readonly Extent[] },
): ValueInfoProto => ({
  name,
  type: { tensorType: { elemType: elementType[dtype], shape: { dim: shape.map(dimension) } } },
});

const dimension = (extent: Extent): DimensionProto =>
  typeof extent === 'number' ? { dimValue: extent } : { dimParam: extent };

function attributeProto(name: string, value: Attribute): AttributeProto {
  if (typeof value === 'number') return { name, type: attributeType.int, i: value };
  if (typeof value === 'string') return { name, type: attributeType.string, s: Buffer.from(value) };
  if (Array.isArray(value)) return { name, type: attributeType.ints, ints: value };
  if ('float' in value) return { name, type: attributeType.float, f: value.float };
  return { name, type: attributeType.graph, g: value as GraphProto };
}
