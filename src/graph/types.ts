/** What type each operator yields, given its inputs: one rule an operator. Illegal inputs are our bug: RangeError. */
import { elementCount, type DType, type Shape } from '../tensor/tensor.ts';
import {
  describeType,
  isFloat,
  sameShape,
  sameType,
  type OperatorAttributes,
  type OperatorKind,
  type Loop,
  type Reduction,
  type TensorType,
  type Value,
} from './value.ts';

interface TypeRule<K extends OperatorKind> {
  /** Number of inputs; undefined when it varies. */
  readonly arity?: number;
  readonly type: (inputs: readonly Value[], attributes: OperatorAttributes[K]) => TensorType;
}

/** NumPy's rule: align at the last axis; extents agree or one of them is 1. */
export function broadcast(...shapes: readonly Shape[]): Shape {
  const rank = Math.max(...shapes.map((shape) => shape.length));
  return Array.from({ length: rank }, (_, axis) => {
    const extents = shapes.map((shape) => shape[axis - rank + shape.length] ?? 1);
    const extent = extents.find((candidate) => candidate !== 1) ?? 1;
    require(extents.every(
      (other) => other === 1 || other === extent,
    ), `shapes ${shapes.map((shape) => `[${shape.join(', ')}]`).join(' and ')} do not broadcast`);
    return extent;
  });
}

/** The type of an operator's output. */
export function inferType<K extends OperatorKind>(
  op: K,
  inputs: readonly Value[],
  attributes: OperatorAttributes[K],
): TensorType {
  const rule: TypeRule<K> = typeRules[op];
  try {
    require(rule.arity === undefined ||
      inputs.length === rule.arity, `takes ${rule.arity} inputs, not ${inputs.length}`);
    return rule.type(inputs, attributes);
  } catch (error) {
    const detail = error instanceof Error ? error.message : String(error);
    throw new RangeError(`${op}(${inputs.map(describeType).join(', ')}): ${detail}`);
  }
}

/** Types of everything a node computes; only loops and fused kernels have more than one output. */
export function outputTypes(node: Value): readonly (TensorType | undefined)[] {
  if (node.op === 'loop') return loopOutputs(node.attributes);
  if (node.op === 'fused') return node.attributes.outputs;
  return [node];
}

const loopOutputs = ({ steps, next, collected }: Loop): readonly TensorType[] => [
  ...next,
  ...collected.map(({ dtype, shape }) => ({ dtype, shape: [steps, ...shape] })),
];

function require(condition: boolean, message: string): asserts condition {
  if (!condition) throw new RangeError(message);
}

const requireFloat = ({ dtype }: TensorType): void => require(isFloat(dtype), `needs a float, not ${dtype}`);

const requireAxis = (axis: number, shape: Shape): void =>
  require(Number.isInteger(axis) && axis >= 0 && axis < shape.length, `axis ${axis} of rank ${shape.length}`);

const requireExtents = (shape: Shape): void =>
  require(shape.every(
    (extent) => Number.isInteger(extent) && extent > 0,
  ), `extents must be positive integers: [${shape.join(', ')}]`);

const withExtent = (shape: Shape, axis: number, extent: number): Shape =>
  shape.map((old, index) => (index === axis ? extent : old));

const unary = {
  arity: 1,
  type: ([x]: readonly TensorType[]) => {
    requireFloat(x!);
    return x!;
  },
};

const commonDType = (inputs: readonly TensorType[]): DType => {
  const { dtype } = inputs[0]!;
  require(inputs.every((input) => input.dtype === dtype), 'element types differ');
  return dtype;
};

const binary = {
  arity: 2,
  type: (inputs: readonly TensorType[]) => ({
    dtype: commonDType(inputs),
    shape: broadcast(...inputs.map(({ shape }) => shape)),
  }),
};

const comparison = {
  arity: 2,
  type: (inputs: readonly TensorType[]) => ({ ...binary.type(inputs), dtype: 'bool' as const }),
};

const lastAxis = {
  arity: 1,
  type: ([x]: readonly TensorType[]) => {
    requireFloat(x!);
    require(x!.shape.length > 0, 'a scalar has no last axis');
    return x!;
  },
};

const reduction = {
  arity: 1,
  type: ([x]: readonly TensorType[], { axes, keepDims }: Reduction) => {
    requireFloat(x!);
    axes.forEach((axis) => requireAxis(axis, x!.shape));
    require(new Set(axes).size === axes.length, 'an axis is reduced twice');
    const shape = keepDims
      ? x!.shape.map((extent, axis) => (axes.includes(axis) ? 1 : extent))
      : x!.shape.filter((_, axis) => !axes.includes(axis));
    return { dtype: x!.dtype, shape };
  },
};

const declared = {
  arity: 0,
  type: (): TensorType => {
    throw new RangeError('a leaf states its own type');
  },
};

const typeRules: { readonly [K in OperatorKind]: TypeRule<K> } = {
  input: declared,
  constant: declared,
  loopVariable: declared,
  add: binary,
  sub: binary,
  mul: binary,
  div: binary,
  neg: unary,
  exp: unary,
  log: unary,
  sqrt: unary,
  reciprocal: unary,
  abs: unary,
  sin: unary,
  cos: unary,
  tanh: unary,
  sigmoid: unary,
  silu: unary,
  less: comparison,
  greater: comparison,
  equal: comparison,
  where: {
    arity: 3,
    type: ([condition, a, b]) => {
      require(condition!.dtype === 'bool', 'the condition must be bool');
      return { dtype: commonDType([a!, b!]), shape: broadcast(condition!.shape, a!.shape, b!.shape) };
    },
  },
  cast: { arity: 1, type: ([x], { to }) => ({ dtype: to, shape: x!.shape }) },
  stopGradient: { arity: 1, type: ([x]) => x! },
  softmax: lastAxis,
  logSoftmax: lastAxis,
  argMax: { arity: 1, type: ([x]) => ({ dtype: 'int64', shape: lastAxis.type([x!]).shape.slice(0, -1) }) },
  matmul: {
    arity: 2,
    type: ([a, b]) => {
      require(a!.shape.length >= 2 && b!.shape.length >= 2, 'needs matrices');
      const [rows, inner] = a!.shape.slice(-2);
      const [innerB, columns] = b!.shape.slice(-2);
      require(inner === innerB, `inner extents ${inner} and ${innerB} differ`);
      const batch = broadcast(a!.shape.slice(0, -2), b!.shape.slice(0, -2));
      return { dtype: commonDType([a!, b!]), shape: [...batch, rows!, columns!] };
    },
  },
  gemm: {
    arity: 2,
    type: ([a, b], { transposeA, transposeB }) => {
      require(a!.shape.length === 2 && b!.shape.length === 2, 'needs two matrices of rank 2');
      const [rows, inner] = transposeA ? a!.shape.toReversed() : a!.shape;
      const [innerB, columns] = transposeB ? b!.shape.toReversed() : b!.shape;
      require(inner === innerB, `inner extents ${inner} and ${innerB} differ`);
      return { dtype: commonDType([a!, b!]), shape: [rows!, columns!] };
    },
  },
  transpose: {
    arity: 1,
    type: ([x], { permutation }) => {
      require(permutation.length === x!.shape.length &&
        x!.shape.every((_, axis) =>
          permutation.includes(axis),
        ), `[${permutation.join(', ')}] is no permutation of its axes`);
      return { dtype: x!.dtype, shape: permutation.map((axis) => x!.shape[axis]!) };
    },
  },
  reshape: {
    arity: 1,
    type: ([x], { shape }) => {
      requireExtents(shape);
      require(elementCount(shape) === elementCount(x!.shape), `does not fill [${shape.join(', ')}]`);
      return { dtype: x!.dtype, shape };
    },
  },
  expand: {
    arity: 1,
    type: ([x], { shape }) => {
      requireExtents(shape);
      require(sameShape(broadcast(x!.shape, shape), shape), `does not expand to [${shape.join(', ')}]`);
      return { dtype: x!.dtype, shape };
    },
  },
  slice: {
    arity: 1,
    type: ([x], { axis, start, end }) => {
      requireAxis(axis, x!.shape);
      const extent = x!.shape[axis]!;
      require(Number.isInteger(start) &&
        Number.isInteger(end) &&
        0 <= start &&
        start < end &&
        end <= extent, `[${start}, ${end}) is no part of axis ${axis}`);
      return { dtype: x!.dtype, shape: withExtent(x!.shape, axis, end - start) };
    },
  },
  pad: {
    arity: 1,
    type: ([x], { axis, before, after }) => {
      requireFloat(x!);
      requireAxis(axis, x!.shape);
      require([before, after].every(
        (n) => Number.isInteger(n) && n >= 0,
      ), 'padding must be whole and not negative');
      return { dtype: x!.dtype, shape: withExtent(x!.shape, axis, before + x!.shape[axis]! + after) };
    },
  },
  concat: {
    type: (inputs, { axis }) => {
      require(inputs.length > 0, 'needs an input');
      const { shape } = inputs[0]!;
      requireAxis(axis, shape);
      const total = inputs.reduce((sum, input) => sum + (input.shape[axis] ?? 0), 0);
      const joined = withExtent(shape, axis, total);
      require(inputs.every((input) =>
        sameShape(withExtent(input.shape, axis, total), joined),
      ), `shapes differ outside axis ${axis}`);
      return { dtype: commonDType(inputs), shape: joined };
    },
  },
  gather: {
    arity: 2,
    type: ([table, ids]) => {
      require(table!.shape.length > 0, 'needs a table of rank 1 or more');
      require(ids!.dtype === 'int64' || ids!.dtype === 'int32', 'ids must be int32 or int64');
      return { dtype: table!.dtype, shape: [...ids!.shape, ...table!.shape.slice(1)] };
    },
  },
  reduceSum: reduction,
  reduceMean: reduction,
  reduceMax: reduction,
  loop: {
    type: (inputs, { steps, iteration, state, next, collected }) => {
      require(Number.isInteger(steps) && steps > 0, 'steps must be a positive integer');
      require(sameType(iteration, { dtype: 'int64', shape: [] }), 'the iteration is an int64 scalar');
      require(state.length === next.length &&
        state.length <= inputs.length, 'as many next values as state variables');
      state.forEach((variable, index) => {
        for (const value of [inputs[index]!, next[index]!]) {
          require(sameType(
            variable,
            value,
          ), `a state of ${describeType(variable)} became ${describeType(value)}`);
        }
      });
      return loopOutputs({ steps, iteration, state, next, collected })[0]!;
    },
  },
  result: {
    arity: 1,
    type: ([node], { index }) => {
      const outputs = outputTypes(node!);
      const type = outputs[index];
      require(type !== undefined, `there is no output ${index}`);
      return type;
    },
  },
  fused: { type: (_, { outputs }) => outputs[0]! },
};
