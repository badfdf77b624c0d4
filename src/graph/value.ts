/** The node of the operator graph: an immutable expression whose type is known the moment it is made. */
import type { DType, Shape, TensorData } from '../tensor/tensor.ts';

export interface TensorType {
  readonly dtype: DType;
  /** Static extents; one compiled session per shape. */
  readonly shape: Shape;
}

type None = Readonly<Record<string, never>>;

/**
 * The closed list of operators and the attributes of each. Every concern (shape, gradient, emission) is a table
 * keyed by it, so a new line here does not compile until each table handles it.
 */
export interface OperatorAttributes {
  // leaves
  readonly input: { readonly name: string };
  readonly constant: { readonly data: TensorData[DType] };
  /** What changes from one iteration of a loop to the next; legal only inside that loop's body. */
  readonly loopVariable: { readonly name: string };
  // elementwise, with broadcasting
  readonly add: None;
  readonly sub: None;
  readonly mul: None;
  readonly div: None;
  readonly neg: None;
  readonly exp: None;
  readonly log: None;
  readonly sqrt: None;
  readonly reciprocal: None;
  readonly abs: None;
  readonly sin: None;
  readonly cos: None;
  readonly tanh: None;
  readonly sigmoid: None;
  readonly silu: None;
  readonly less: None;
  readonly greater: None;
  readonly equal: None;
  readonly where: None;
  readonly cast: { readonly to: DType };
  readonly stopGradient: None;
  // over the last axis
  readonly softmax: None;
  readonly logSoftmax: None;
  readonly argMax: None;
  // products
  readonly matmul: None;
  readonly gemm: { readonly transposeA: boolean; readonly transposeB: boolean };
  // movement
  readonly transpose: { readonly permutation: readonly number[] };
  readonly reshape: { readonly shape: Shape };
  readonly expand: { readonly shape: Shape };
  readonly slice: { readonly axis: number; readonly start: number; readonly end: number };
  readonly pad: { readonly axis: number; readonly before: number; readonly after: number };
  readonly concat: { readonly axis: number };
  readonly gather: None;
  // reductions
  readonly reduceSum: Reduction;
  readonly reduceMean: Reduction;
  readonly reduceMax: Reduction;
  // control and escape hatch
  readonly loop: Loop;
  readonly result: { readonly index: number };
  readonly fused: Fused;
}

export interface Reduction {
  readonly axes: readonly number[];
  readonly keepDims: boolean;
}

/** A counted loop. Inputs of its node: the first value of each state variable, then whatever the body captures. */
export interface Loop {
  readonly steps: number;
  /** int64 scalar: 0, 1, ... steps - 1. */
  readonly iteration: Value;
  readonly state: readonly Value[];
  /** What each state variable becomes; same types as `state`. */
  readonly next: readonly Value[];
  /** Values collected over the iterations: results of shape (steps, ...shape). */
  readonly collected: readonly Value[];
}

export type FusedAttribute = number | string | { readonly float: number } | readonly number[];

/** A kernel of the runtime that has no counterpart here. It can be emitted and nothing else. */
export interface Fused {
  /** `''` for ONNX's own domain, `com.microsoft` for ONNX Runtime's. */
  readonly domain: string;
  readonly type: string;
  /** Whole numbers become INT, `{ float }` FLOAT, arrays INTS. */
  readonly attributes: Readonly<Record<string, FusedAttribute>>;
  /** Types of all outputs, in the kernel's order, undefined where one is not wanted; `result(value, i)` takes those after the first. */
  readonly outputs: readonly (TensorType | undefined)[];
  /** Which of the kernel's inputs, in its order, are given. */
  readonly present: readonly boolean[];
}

/** An axis of an input or output: how long it is, or the name of a length that each run chooses. */
export type Extent = number | string;

export type OperatorKind = keyof OperatorAttributes;

/** One node of the graph, which is its one output. */
export type Value<K extends OperatorKind = OperatorKind> = { readonly [P in K]: Node<P> }[K];

interface Node<K extends OperatorKind> extends TensorType {
  readonly op: K;
  readonly inputs: readonly Value[];
  readonly attributes: OperatorAttributes[K];
}

export const isFloat = (dtype: DType): boolean => dtype.startsWith('float') || dtype === 'bfloat16';

/** `float32[4, 8]`, for messages. */
export const describeType = ({ dtype, shape }: TensorType): string => `${dtype}[${shape.join(', ')}]`;

export const sameShape = (a: Shape, b: Shape): boolean =>
  a.length === b.length && a.every((extent, axis) => extent === b[axis]);

export const sameType = (a: TensorType, b: TensorType): boolean =>
  a.dtype === b.dtype && sameShape(a.shape, b.shape);
