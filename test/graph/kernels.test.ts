/** What graphs emit, held against the kernels that ONNX Runtime publishes for its GPU providers. */
import fc from 'fast-check';
import { expect, test } from 'vitest';
import {
  encode,
  equal,
  gather,
  gradient,
  graph,
  input,
  iota,
  less,
  reduceSum,
  where,
  type Value,
} from '../../src/graph/index.ts';
import { elementType, modelProto, type GraphProto, type ModelProto } from '../../src/graph/onnx-schema.ts';
import type { OperatorKind } from '../../src/graph/value.ts';
import type { DType } from '../../src/tensor/index.ts';
import kernels from './kernels.json' with { type: 'json' };
import { samples, withoutGradient, type Sample } from './samples.ts';

const cuda: Readonly<Record<string, readonly string[]>> = kernels.cuda.operators;

test('CUDA has a kernel for every operator, in float32 and in float16', () => {
  for (const type of emittedTypes()) {
    expect(cuda[type], type).toBeDefined();
    expect(cuda[type], type).toEqual(expect.arrayContaining(['float32', 'float16']));
  }
});

test('WebGPU has a kernel for every operator, or it is known to run on the CPU', () => {
  const known = [...kernels.webgpu.operators, ...Object.keys(kernels.webgpu.onCpu)];
  for (const type of emittedTypes()) expect(known).toContain(type);
});

test('integer ids and the masks made of them stay on CUDA', () => {
  const ids = input('ids', 'int32', [4]);
  const types = typesOf({
    mask: equal(ids, iota(4)),
    less: less(ids, 2),
    rows: gather(ids, ids),
    chosen: where(less(ids, 2), ids, 0),
  });
  for (const type of types) expect(cuda[type], type).toContain('int32');
});

/** ONNX operators of one sample of each operator and of its gradient. */
function emittedTypes(): ReadonlySet<string> {
  const types = Object.entries(samples).flatMap(([kind, arbitrary]) => {
    const [sample] = fc.sample<Sample>(arbitrary, { numRuns: 1, seed: 1 }) as [Sample];
    const operands = sample.shapes.map((shape, index) => input(`x${index}`, 'float32', shape));
    const y = sample.build(...operands);
    const gradients = withoutGradient.includes(kind as OperatorKind) ? [] : gradient(reduceSum(y), operands);
    return [...typesOf({ y, ...Object.fromEntries(gradients.map((g, index) => [`d${index}`, g])) })];
  });
  return new Set(types);
}

const typesOf = (outputs: Record<string, Value>): ReadonlySet<string> => {
  const model = modelProto.toObject(modelProto.decode(encode(graph(outputs)))) as unknown as ModelProto;
  return new Set(operatorTypes(model.graph));
};

const operatorTypes = (body: GraphProto): string[] =>
  body.node.flatMap(({ opType, attribute = [] }) => [
    opType,
    ...attribute.flatMap(({ g }) => (g ? operatorTypes(g) : [])),
  ]);

test('the element types that kernels are listed with are ours', () => {
  const names = new Set(Object.values(cuda).flat());
  for (const name of names) expect(elementType[name as DType], name).toBeDefined();
});
