/** A graph as the bytes of an ONNX model: one emission rule an operator. */
import type { DType, Shape, Tensor } from '../tensor/tensor.ts';
import { loopBody, type Graph } from './graph.ts';
import {
  attributeType,
  elementType,
  modelProto,
  type AttributeProto,
  type GraphProto,
  type ModelProto,
  type NodeProto,
  type TensorProto,
  type ValueInfoProto,
} from './onnx-schema.ts';
import { outputTypes } from './types.ts';
import type { FusedAttribute, OperatorKind, Reduction, Value } from './value.ts';

/** ONNX operator set; ONNX Runtime 1.30 has kernels for it on every device. */
const opset = 20;
/** IR version that came with that operator set (ONNX 1.15). */
const irVersion = 9;

/** The graph as an ONNX model. Deterministic: equal graphs give equal bytes. */
export function encode(graph: Graph): Uint8Array {
  const domains = new Map([['', opset]]);
  const scope = new Scope(domains, new Map(), { next: 0 });
  for (const [name, value] of Object.entries(graph.inputs)) scope.name(value, name);
  for (const node of graph.nodes) scope.emit(node);
  const model: ModelProto = {
    irVersion,
    producerName: 'puzzle',
    graph: scope.finish(
      'graph',
      Object.entries(graph.inputs).map(([name, value]) => valueInfo(name, value)),
      Object.entries(graph.outputs),
    ),
    opsetImport: [...domains].map(([domain, version]) => ({ domain, version })),
  };
  return modelProto.encode(modelProto.fromObject(model)).finish();
}

type EmissionRule<K extends OperatorKind> = (node: Value<K>, scope: Scope) => void;

/** ONNX operator of the same inputs, without attributes. */
const plain =
  (type: string): EmissionRule<OperatorKind> =>
  (node, scope) =>
    scope.add(type, scope.inputs(node), [scope.name(node)]);

const lastAxis =
  (type: string): EmissionRule<OperatorKind> =>
  (node, scope) =>
    scope.add(type, scope.inputs(node), [scope.name(node)], { axis: -1 });

const reduction =
  (type: string): EmissionRule<'reduceSum' | 'reduceMean' | 'reduceMax'> =>
  (node, scope) => {
    const { axes, keepDims }: Reduction = node.attributes;
    scope.add(type, [...scope.inputs(node), scope.integers(axes)], [scope.name(node)], {
      keepdims: Number(keepDims),
    });
  };

const toShape =
  (type: string): EmissionRule<'reshape' | 'expand'> =>
  (node, scope) =>
    scope.add(type, [...scope.inputs(node), scope.integers(node.attributes.shape)], [scope.name(node)]);

const lowered: EmissionRule<OperatorKind> = (node) => {
  throw new Error(`${node.op} is lowered before emission`);
};

const rules: { readonly [K in OperatorKind]: EmissionRule<K> } = {
  input: () => {},
  loopVariable: () => {},
  constant: (node, scope) => scope.initialise(scope.name(node), { ...node, data: node.attributes.data }),
  add: plain('Add'),
  sub: plain('Sub'),
  mul: plain('Mul'),
  div: plain('Div'),
  neg: plain('Neg'),
  exp: plain('Exp'),
  log: plain('Log'),
  sqrt: plain('Sqrt'),
  reciprocal: plain('Reciprocal'),
  abs: plain('Abs'),
  sin: plain('Sin'),
  cos: plain('Cos'),
  tanh: plain('Tanh'),
  sigmoid: plain('Sigmoid'),
  silu: lowered,
  less: plain('Less'),
  greater: plain('Greater'),
  equal: plain('Equal'),
  where: plain('Where'),
  cast: (node, scope) =>
    scope.add('Cast', scope.inputs(node), [scope.name(node)], { to: elementType[node.attributes.to] }),
  stopGradient: lowered,
  softmax: lastAxis('Softmax'),
  logSoftmax: lastAxis('LogSoftmax'),
  argMax: (node, scope) =>
    scope.add('ArgMax', scope.inputs(node), [scope.name(node)], { axis: -1, keepdims: 0 }),
  matmul: plain('MatMul'),
  gemm: (node, scope) =>
    scope.add('Gemm', scope.inputs(node), [scope.name(node)], {
      transA: Number(node.attributes.transposeA),
      transB: Number(node.attributes.transposeB),
    }),
  transpose: (node, scope) =>
    scope.add('Transpose', scope.inputs(node), [scope.name(node)], { perm: node.attributes.permutation }),
  reshape: toShape('Reshape'),
  expand: toShape('Expand'),
  slice: (node, scope) => {
    const { axis, start, end } = node.attributes;
    const bounds = [[start], [end], [axis]].map((values) => scope.integers(values));
    scope.add('Slice', [...scope.inputs(node), ...bounds], [scope.name(node)]);
  },
  pad: (node, scope) => {
    const { axis, before, after } = node.attributes;
    const at = (amount: number): number[] => node.shape.map((_, index) => (index === axis ? amount : 0));
    scope.add(
      'Pad',
      [...scope.inputs(node), scope.integers([...at(before), ...at(after)])],
      [scope.name(node)],
    );
  },
  concat: (node, scope) =>
    scope.add('Concat', scope.inputs(node), [scope.name(node)], { axis: node.attributes.axis }),
  gather: (node, scope) => scope.add('Gather', scope.inputs(node), [scope.name(node)], { axis: 0 }),
  reduceSum: reduction('ReduceSum'),
  reduceMean: reduction('ReduceMean'),
  reduceMax: reduction('ReduceMax'),
  loop: emitLoop,
  result: () => {}, // its node has named all its outputs
  fused: (node, scope) => {
    const { domain, type, attributes, present } = node.attributes;
    const names = scope.inputs(node).values();
    const inputs = present.map((isPresent) => (isPresent ? names.next().value! : ''));
    scope.add(type, inputs, scope.outputs(node), attributes, domain);
  },
};

function emitLoop(node: Value<'loop'>, scope: Scope): void {
  const { steps, iteration, state, next, collected } = node.attributes;
  const body = scope.child();
  const condition = body.fresh('continue');
  const variables = [iteration, ...state].map((value) => valueInfo(body.name(value), value));
  for (const inner of loopBody(node)) body.emit(inner);
  const proceeding = body.fresh('continue');
  body.add('Identity', [condition], [proceeding]);
  const graph = body.finish(
    'body',
    [variables[0]!, valueInfo(condition, { dtype: 'bool', shape: [] }), ...variables.slice(1)],
    [...next, ...collected].map((value) => [body.fresh('next'), value]),
    [valueInfo(proceeding, { dtype: 'bool', shape: [] })],
  );
  const initial = scope.inputs(node).slice(0, state.length);
  scope.add('Loop', [scope.scalar(steps), '', ...initial], scope.outputs(node), { body: graph });
}

type Attribute = FusedAttribute | GraphProto;

/** Names and nodes of one (sub)graph; a loop's body sees the names around it. */
class Scope {
  readonly #domains: Map<string, number>;
  readonly #names: Map<Value, readonly string[]>;
  readonly #counter: { next: number };
  readonly #nodes: NodeProto[] = [];
  readonly #initializers = new Map<string, TensorProto>();

  constructor(domains: Map<string, number>, names: Map<Value, readonly string[]>, counter: { next: number }) {
    this.#domains = domains;
    this.#names = names;
    this.#counter = counter;
  }

  child(): Scope {
    return new Scope(this.#domains, new Map(this.#names), this.#counter);
  }

  emit(node: Value): void {
    const rule = rules[node.op] as EmissionRule<OperatorKind>; // the table ties rule and operator together
    rule(node, this);
  }

  /** Name of a value's only (or first) output, given at first use. */
  name(value: Value, name?: string): string {
    if (value.op === 'result') return this.outputs(value.inputs[0]!)[value.attributes.index]!;
    return this.outputs(value, name)[0]!;
  }

  /** Names of all outputs of a node. */
  outputs(value: Value, name?: string): readonly string[] {
    const known = this.#names.get(value);
    if (known !== undefined) return known;
    const names = name === undefined ? outputTypes(value).map(() => this.fresh(value.op)) : [name];
    this.#names.set(value, names);
    return names;
  }

  inputs(node: Value): readonly string[] {
    return node.inputs.map((value) => this.name(value));
  }

  /** A name no input can have. */
  fresh(stem: string): string {
    return `${stem}:${this.#counter.next++}`;
  }

  add(
    type: string,
    input: readonly string[],
    output: readonly string[],
    attributes: Readonly<Record<string, Attribute>> = {},
    domain = '',
  ): void {
    if (!this.#domains.has(domain)) this.#domains.set(domain, 1);
    const attribute = Object.entries(attributes).map(([name, value]) => attributeProto(name, value));
    this.#nodes.push({ input, output, name: output[0]!, opType: type, domain, attribute });
  }

  initialise(name: string, tensor: Tensor): string {
    const { data } = tensor;
    this.#initializers.set(name, {
      dims: tensor.shape,
      dataType: elementType[tensor.dtype],
      name,
      rawData: new Uint8Array(data.buffer, data.byteOffset, data.byteLength),
    });
    return name;
  }

  /** A list of int64 (axes, extents), shared by all who need the same. */
  integers(values: readonly number[]): string {
    return this.#int64(`ints:${values.join(',')}`, values, [values.length]);
  }

  scalar(value: number): string {
    return this.#int64(`int:${value}`, [value], []);
  }

  #int64(name: string, values: readonly number[], shape: Shape): string {
    const data = BigInt64Array.from(values, BigInt);
    return this.#initializers.has(name) ? name : this.initialise(name, { dtype: 'int64', shape, data });
  }

  /** The (sub)graph; outputs get their names through Identity nodes, which ONNX Runtime removes. */
  finish(
    name: string,
    input: readonly ValueInfoProto[],
    outputs: readonly (readonly [string, Value])[],
    leading: readonly ValueInfoProto[] = [],
  ): GraphProto {
    for (const [outputName, value] of outputs) this.add('Identity', [this.name(value)], [outputName]);
    const output = [...leading, ...outputs.map(([outputName, value]) => valueInfo(outputName, value))];
    return { node: this.#nodes, name, initializer: [...this.#initializers.values()], input, output };
  }
}

const valueInfo = (name: string, { dtype, shape }: { dtype: DType; shape: Shape }): ValueInfoProto => ({
  name,
  type: {
    tensorType: { elemType: elementType[dtype], shape: { dim: shape.map((dimValue) => ({ dimValue })) } },
  },
});

function attributeProto(name: string, value: Attribute): AttributeProto {
  if (typeof value === 'number') return { name, type: attributeType.int, i: value };
  if (typeof value === 'string') return { name, type: attributeType.string, s: Buffer.from(value) };
  if (Array.isArray(value)) return { name, type: attributeType.ints, ints: value };
  if ('float' in value) return { name, type: attributeType.float, f: value.float };
  return { name, type: attributeType.graph, g: value as GraphProto };
}
