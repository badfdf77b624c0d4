/** A graph as the bytes of an ONNX model: one emission rule an operator. */
import { loopBody, type Graph } from './graph.ts';
import { elementType, modelProto, type ExternalData, type ModelProto } from './onnx-schema.ts';
import { Scope, valueInfo, type EmissionRule, type EmissionRules } from './onnx-scope.ts';
import type { OperatorKind, Reduction, Value } from './value.ts';

/** ONNX operator set; ONNX Runtime 1.30 has kernels for it on every device. Other domains are at version 1. */
const opset = 20;
/** IR version that came with that operator set (ONNX 1.15). */
const irVersion = 9;

/**
 * The graph as an ONNX model. Deterministic: equal graphs give equal bytes.
 * @param external inputs that become weights of the model, by name
 */
export function encode(graph: Graph, external: ReadonlyMap<string, ExternalData> = new Map()): Uint8Array {
  const scope = Scope.root();
  for (const [name, value] of Object.entries(graph.inputs)) {
    scope.setName(value, name);
    const data = external.get(name);
    if (data !== undefined) scope.initialiseExternally(name, value, data);
  }
  scope.claim(Object.entries(graph.outputs));
  for (const node of graph.nodes) scope.emit(node, rules);
  const model: ModelProto = {
    irVersion,
    producerName: 'puzzle',
    graph: scope.finish(
      'graph',
      Object.entries(graph.inputs).flatMap(([name, { dtype, shape }]) =>
        external.has(name) ? [] : [valueInfo(name, { dtype, shape: graph.shapes[name] ?? shape })],
      ),
      Object.entries(graph.outputs),
      { shapes: graph.shapes },
    ),
    opsetImport: [...scope.domains].map((domain) => ({ domain, version: domain === '' ? opset : 1 })),
  };
  return modelProto.encode(modelProto.fromObject(model)).finish();
}

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

const rules: EmissionRules = {
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
  const conditionType = { dtype: 'bool', shape: [] } as const;
  const [condition, proceeding] = [body.fresh('continue'), body.fresh('continue')];
  const results = [...next, ...collected].map((value) => [body.fresh('next'), value] as const);
  const variables = [iteration, ...state].map((value) => valueInfo(body.name(value), value));
  body.claim(results);
  for (const inner of loopBody(node)) body.emit(inner, rules);
  body.add('Identity', [condition], [proceeding]);
  const graph = body.finish(
    'body',
    [variables[0]!, valueInfo(condition, conditionType), ...variables.slice(1)],
    results,
    { leading: [valueInfo(proceeding, conditionType)] },
  );
  const initial = scope.inputs(node).slice(0, state.length);
  scope.add('Loop', [scope.integer(steps), '', ...initial], scope.outputs(node), { body: graph });
}
