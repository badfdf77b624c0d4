/** The functions that make values: each infers the type of its output and refuses illegal inputs at once. */
import { type DType, type Shape, type Tensor, type TensorData } from '../tensor/tensor.ts';
import { inferType, outputTypes } from './types.ts';
import {
  sameShape,
  type Fused,
  type OperatorAttributes,
  type OperatorKind,
  type TensorType,
  type Value,
} from './value.ts';

/** A number stands for a scalar constant of the other operand's element type. */
export type Operand = Value | number;

/** Makes one node; the typed functions below are what others use. */
export function node<K extends OperatorKind>(
  op: K,
  inputs: readonly Value[],
  attributes: OperatorAttributes[K],
): Value {
  return freeze(op, inputs, attributes, inferType(op, inputs, attributes));
}

function freeze<K extends OperatorKind>(
  op: K,
  inputs: readonly Value[],
  attributes: OperatorAttributes[K],
  { dtype, shape }: TensorType,
): Value {
  const value = { op, inputs, attributes, dtype, shape: Object.freeze([...shape]) };
  return Object.freeze(value) as Value; // a union over K cannot be built from an open K
}

// Leaves

/** A tensor fed at run time under `name`. */
export const input = (name: string, dtype: DType, shape: Shape): Value =>
  freeze('input', [], { name }, { dtype, shape });

/** A variable of a loop's body; made by `loop`. */
export const loopVariable = (name: string, { dtype, shape }: TensorType): Value =>
  freeze('loopVariable', [], { name }, { dtype, shape });

/** A small tensor fixed in the graph; a number becomes a scalar of `dtype`. */
export function constant(content: Tensor | number, dtype: DType = 'float32'): Value {
  if (typeof content !== 'number') return freeze('constant', [], { data: content.data }, content);
  return freeze('constant', [], { data: scalarData[dtype](content) }, { dtype, shape: [] });
}

const scalarData: { readonly [D in DType]: (value: number) => TensorData[D] } = {
  float32: (value) => Float32Array.of(value),
  float64: (value) => Float64Array.of(value),
  int32: (value) => Int32Array.of(value),
  int64: (value) => BigInt64Array.of(BigInt(value)),
  uint8: (value) => Uint8Array.of(value),
  bool: (value) => Uint8Array.of(value),
  float16: () => {
    throw new RangeError('cast a float32 constant to float16');
  },
  bfloat16: () => {
    throw new RangeError('cast a float32 constant to bfloat16');
  },
};

/** 0, 1, ... length - 1. */
export const iota = (length: number, dtype: 'int32' | 'int64' = 'int32'): Value =>
  constant(
    dtype === 'int32'
      ? { dtype, shape: [length], data: Int32Array.from({ length }, (_, index) => index) }
      : { dtype, shape: [length], data: BigInt64Array.from({ length }, (_, index) => BigInt(index)) },
  );

// Elementwise, with broadcasting

const operands = (a: Operand, b: Operand): [Value, Value] => {
  if (typeof a !== 'number') return [a, typeof b === 'number' ? constant(b, a.dtype) : b];
  if (typeof b === 'number') throw new RangeError('one operand must be a value');
  return [constant(a, b.dtype), b];
};

const binary =
  (op: 'add' | 'sub' | 'mul' | 'div' | 'less' | 'greater' | 'equal') =>
  (a: Operand, b: Operand): Value =>
    node(op, operands(a, b), {});

const unary =
  (
    op:
      | 'neg'
      | 'exp'
      | 'log'
      | 'sqrt'
      | 'reciprocal'
      | 'abs'
      | 'sin'
      | 'cos'
      | 'tanh'
      | 'sigmoid'
      | 'silu'
      | 'softmax'
      | 'logSoftmax'
      | 'argMax'
      | 'stopGradient',
  ) =>
  (x: Value): Value =>
    node(op, [x], {});

export const add = binary('add');
export const sub = binary('sub');
export const mul = binary('mul');
export const div = binary('div');
export const less = binary('less');
export const greater = binary('greater');
export const equal = binary('equal');
export const neg = unary('neg');
export const exp = unary('exp');
export const log = unary('log');
export const sqrt = unary('sqrt');
export const reciprocal = unary('reciprocal');
export const abs = unary('abs');
export const sin = unary('sin');
export const cos = unary('cos');
export const tanh = unary('tanh');
export const sigmoid = unary('sigmoid');
/** x * sigmoid(x), the activation of SwiGLU. */
export const silu = unary('silu');
/** The same value, through which no gradient flows. */
export const stopGradient = unary('stopGradient');
/** Over the last axis. */
export const softmax = unary('softmax');
/** Over the last axis. */
export const logSoftmax = unary('logSoftmax');
/** Index (int64) of the largest element of the last axis, the first of equals; the axis disappears. */
export const argMax = unary('argMax');

export const square = (x: Value): Value => mul(x, x);

/** `condition ? a : b`, elementwise. */
export const where = (condition: Value, a: Operand, b: Operand): Value =>
  node('where', [condition, ...operands(a, b)], {});

export const minimum = (a: Operand, b: Operand): Value => {
  const [left, right] = operands(a, b);
  return where(less(left, right), left, right);
};

export const cast = (x: Value, to: DType): Value => (x.dtype === to ? x : node('cast', [x], { to }));

// Products

/** (..., rows, inner) x (..., inner, columns) -> (..., rows, columns); the leading axes broadcast. */
export const matmul = (a: Value, b: Value): Value => node('matmul', [a, b], {});

/** Product of two matrices, either of them transposed first. */
export const gemm = (
  a: Value,
  b: Value,
  { transposeA = false, transposeB = false }: { transposeA?: boolean; transposeB?: boolean } = {},
): Value => node('gemm', [a, b], { transposeA, transposeB });

// Movement

/** Axis `i` of the result is axis `permutation[i]` of `x`. */
export const transpose = (x: Value, permutation: readonly number[]): Value =>
  node('transpose', [x], { permutation });

export const reshape = (x: Value, shape: Shape): Value =>
  sameShape(x.shape, shape) ? x : node('reshape', [x], { shape });

/** Repeats axes of extent 1 (and adds leading axes) to reach `shape`. */
export const expand = (x: Value, shape: Shape): Value =>
  sameShape(x.shape, shape) ? x : node('expand', [x], { shape });

/** Elements `start` to `end` (exclusive) of one axis. */
export const slice = (x: Value, axis: number, start: number, end: number): Value =>
  node('slice', [x], { axis, start, end });

/** Zeros before and after along one axis. */
export const pad = (x: Value, axis: number, before: number, after: number): Value =>
  node('pad', [x], { axis, before, after });

export const concat = (values: readonly Value[], axis: number): Value => node('concat', values, { axis });

/** Rows of `table` (axis 0) by int32 or int64 `ids`: ids.shape + table.shape[1:]. */
export const gather = (table: Value, ids: Value): Value => node('gather', [table, ids], {});

/** 1 where the class is the id's: ids.shape + [classes]. Made of `equal` and `cast`, which every device has. */
export function oneHot(ids: Value, classes: number, dtype: DType = 'float32'): Value {
  if (ids.dtype !== 'int32' && ids.dtype !== 'int64')
    throw new RangeError(`oneHot: ids must be integers, not ${ids.dtype}`);
  return cast(equal(reshape(ids, [...ids.shape, 1]), iota(classes, ids.dtype)), dtype);
}

// Reductions

type ReduceOptions = { readonly axes?: readonly number[]; readonly keepDims?: boolean };

const reduce =
  (op: 'reduceSum' | 'reduceMean' | 'reduceMax') =>
  (x: Value, { axes = x.shape.map((_, axis) => axis), keepDims = false }: ReduceOptions = {}): Value =>
    node(op, [x], { axes: axes.map((axis) => (axis < 0 ? axis + x.shape.length : axis)), keepDims });

/** Over `axes` (default all; negative counts from the end). */
export const reduceSum = reduce('reduceSum');
export const reduceMean = reduce('reduceMean');
export const reduceMax = reduce('reduceMax');

/** Sums a broadcast value back to `shape`. */
export function reduceTo(x: Value, shape: Shape): Value {
  if (sameShape(x.shape, shape)) return x;
  const lead = x.shape.length - shape.length;
  const axes = x.shape.flatMap((extent, axis) =>
    axis < lead || (shape[axis - lead] === 1 && extent !== 1) ? [axis] : [],
  );
  return reshape(reduceSum(x, { axes, keepDims: true }), shape);
}

// Control and escape hatch

/**
 * Runs `body` `steps` times in one session call. What the body uses and does not depend on its arguments is computed
 * once, outside. Returns the state after the last step, and every collected value stacked to (steps, ...shape).
 */
export function loop<S extends string, C extends string>(
  steps: number,
  initial: Readonly<Record<S, Value>>,
  body: (iteration: Value, state: Readonly<Record<S, Value>>) => LoopResults<S, C>,
): LoopResults<S, C> {
  const names = Object.keys(initial) as S[];
  const iteration = loopVariable('iteration', { dtype: 'int64', shape: [] });
  const variables = mapRecord(names, (name) => loopVariable(name, initial[name]));
  const results = body(iteration, variables);
  const collectedNames = Object.keys(results.collected) as C[];
  const state = names.map((name) => variables[name]);
  const next = names.map((name) => results.state[name]);
  const collected = collectedNames.map((name) => results.collected[name]);
  const whole = node(
    'loop',
    [...names.map((name) => initial[name]), ...captures([iteration, ...state], [...next, ...collected])],
    { steps, iteration, state, next, collected },
  );
  return {
    state: mapRecord(names, (_, index) => result(whole, index)),
    collected: mapRecord(collectedNames, (_, index) => result(whole, names.length + index)),
  };
}

/** What a loop's body yields each iteration, and what the whole loop yields. */
export interface LoopResults<S extends string, C extends string> {
  readonly state: Readonly<Record<S, Value>>;
  readonly collected: Readonly<Record<C, Value>>;
}

const mapRecord = <K extends string, T>(
  names: readonly K[],
  map: (name: K, index: number) => T,
): Record<K, T> => Object.fromEntries(names.map((name, index) => [name, map(name, index)])) as Record<K, T>;

/** Values outside a loop that its body reads: the last ones, on each path, that depend on none of its variables. */
export function captures(variables: readonly Value[], results: readonly Value[]): readonly Value[] {
  const inside = new Map<Value, boolean>(variables.map((variable) => [variable, true]));
  const depends = (value: Value): boolean => {
    const known = inside.get(value);
    if (known !== undefined) return known;
    const answer = value.inputs.map(depends).includes(true);
    inside.set(value, answer);
    return answer;
  };
  const found = new Set<Value>(results.filter((value) => !depends(value)));
  for (const [value, isInside] of inside) {
    if (isInside) for (const operand of value.inputs) if (!depends(operand)) found.add(operand);
  }
  return [...found];
}

/** Output `index` of a loop or of a fused kernel. */
export function result(value: Value, index: number): Value {
  return outputTypes(value).length === 1 && index === 0 ? value : node('result', [value], { index });
}

/**
 * A kernel that the runtime has and this graph has no operator for: it can be run, not differentiated. Check that
 * every execution provider in use has it before using it. An `undefined` input is an optional one left out.
 */
export const fused = (
  domain: string,
  type: string,
  inputs: readonly (Value | undefined)[],
  attributes: Fused['attributes'],
  outputs: Fused['outputs'],
): Value =>
  node(
    'fused',
    inputs.filter((value) => value !== undefined),
    { domain, type, attributes, outputs, present: inputs.map((value) => value !== undefined) },
  );
