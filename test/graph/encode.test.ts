/** The bytes of an emitted graph: golden, and readable as what was meant. */
import { expect, test } from 'vitest';
import {
  encode,
  fused,
  gemm,
  graph,
  input,
  loop,
  mul,
  reduceMean,
  result,
  silu,
  square,
  sub,
  trainingLoop,
  type Graph,
} from '../../src/graph/index.ts';
import { modelProto, type ModelProto } from '../../src/graph/onnx-schema.ts';
import { sha256 } from '../../src/util/hash.ts';

const example = (): Graph =>
  trainingLoop({
    loss: ({ w }, { x, y }) => reduceMean(square(sub(silu(gemm(x!, w!, { transposeB: true })), y!))),
    parameters: { w: [3, 2] },
    data: { x: { dtype: 'float32', shape: [4, 2] }, y: { dtype: 'float32', shape: [4, 3] } },
    steps: 5,
  });

const decoded = (made: Graph): ModelProto =>
  modelProto.toObject(modelProto.decode(encode(made)), {
    defaults: true,
    arrays: true,
    longs: Number,
  }) as ModelProto;

test('the bytes of a training loop are golden', () => {
  // Checked by hand with Python's onnx 1.23.2: onnx.checker.check_model(model, full_check=True) passes.
  // A change here recompiles every cached session and must be meant.
  expect(sha256(encode(example()))).toBe('8b5846e0e33b980e9cc64cdeac5abd98ddb27a1a40d1c3dd7abbf3f428620c8a');
});

test('equal graphs give equal bytes', () => {
  expect(encode(example())).toEqual(encode(example()));
});

test('inputs and outputs keep names, types and shapes', () => {
  const { graph: proto } = decoded(
    graph({ y: mul(input('x', 'float16', [2, 3]), input('scale', 'float16', [])) }),
  );
  const types = [...proto.input, ...proto.output].map(({ name, type: { tensorType } }) => [
    name,
    tensorType.elemType,
    ...(tensorType.shape.dim ?? []).map((extent) =>
      'dimValue' in extent ? extent.dimValue : extent.dimParam,
    ),
  ]);
  expect(types).toEqual([
    ['x', 10, 2, 3],
    ['scale', 10],
    ['y', 10, 2, 3],
  ]);
});

test('nodes write straight to the outputs; only copies of inputs and of other outputs cost a node', () => {
  const x = input('x', 'float32', []);
  const y = mul(x, 2);
  const { node } = decoded(graph({ y, again: y, x2: x })).graph;
  expect(node.map(({ opType, output }) => [opType, ...output])).toEqual([
    ['Mul', 'y'],
    ['Identity', 'again'],
    ['Identity', 'x2'],
  ]);
});

test('a fused kernel keeps its domain, attributes, omitted inputs and all outputs', () => {
  const x = input('x', 'float32', [2, 4]);
  const whole = fused(
    'com.microsoft',
    'Example',
    [x, undefined, x],
    { size: 3, epsilon: { float: 0.5 }, mode: 'fast', axes: [0, 1] },
    [x, { dtype: 'float32', shape: [2] }],
  );
  const model = decoded(graph({ a: result(whole, 0), b: result(whole, 1) }));
  const node = model.graph.node.find(({ opType }) => opType === 'Example')!;
  expect(node.domain).toBe('com.microsoft');
  expect(node.input).toEqual(['x', '', 'x']);
  expect(node.output).toHaveLength(2);
  expect(node.attribute.map(({ name, type }) => [name, type])).toEqual([
    ['size', 2],
    ['epsilon', 1],
    ['mode', 3],
    ['axes', 7],
  ]);
  expect(model.opsetImport).toEqual([
    { domain: '', version: 20 },
    { domain: 'com.microsoft', version: 1 },
  ]);
});

test('a loop carries its body as a subgraph', () => {
  const x = input('x', 'float32', [2]);
  const { state } = loop(7, { x }, (_, { x }) => ({ state: { x: mul(x, 2) }, collected: {} }));
  const node = decoded(graph({ y: state.x })).graph.node.find(({ opType }) => opType === 'Loop')!;
  const body = node.attribute[0]!.g!;
  expect(body.input).toHaveLength(3); // iteration, condition, x
  expect(body.output).toHaveLength(2); // condition, x
  expect(body.node.map(({ opType }) => opType)).toEqual(['Mul', 'Identity']); // the Identity passes the condition on
});
