/** Reverse-mode differentiation: one table, one rule an operator; gradients are values like any other. */
import {
  add,
  cast,
  constant,
  div,
  equal,
  expand,
  gemm,
  less,
  matmul,
  mul,
  neg,
  oneHot,
  pad,
  reduceSum,
  reduceTo,
  reshape,
  sigmoid,
  sin,
  cos,
  slice,
  sub,
  transpose,
  where,
  exp,
} from './build.ts';
import { elementCount } from '../tensor/tensor.ts';
import { describeType, isFloat, type OperatorKind, type Reduction, type Value } from './value.ts';

/**
 * Gradient of each input, given `g`, the gradient of the output; undefined where none flows. A rule may leave out
 * the sums that undo broadcasting: `gradient` adds them.
 */
type GradientRule<K extends OperatorKind> = (g: Value, y: Value<K>) => readonly (Value | undefined)[];

const none = (): readonly undefined[] => [];

const impossible = (_: Value, y: Value): never => {
  throw new RangeError(`no gradient is defined through ${y.op}`);
};

const swapLast = (x: Value): Value => {
  const axes = x.shape.map((_, axis) => axis);
  return transpose(x, [...axes.slice(0, -2), axes.at(-1)!, axes.at(-2)!]);
};

/** Gives a reduced value its axes back, as extents of 1. */
const keepReduced = (reduced: Value, x: Value, { axes }: Reduction): Value =>
  reshape(
    reduced,
    x.shape.map((extent, axis) => (axes.includes(axis) ? 1 : extent)),
  );

const sumLast = (x: Value): Value => reduceSum(x, { axes: [-1], keepDims: true });

const rules: { readonly [K in OperatorKind]: GradientRule<K> } = {
  input: none,
  constant: none,
  loopVariable: none,
  add: (g) => [g, g],
  sub: (g) => [g, neg(g)],
  mul: (g, { inputs: [a, b] }) => (a === b ? [mul(mul(g, 2), a!)] : [mul(g, b!), mul(g, a!)]),
  div: (g, y) => [div(g, y.inputs[1]!), neg(mul(g, div(y, y.inputs[1]!)))],
  neg: (g) => [neg(g)],
  exp: (g, y) => [mul(g, y)],
  log: (g, { inputs: [x] }) => [div(g, x!)],
  sqrt: (g, y) => [div(mul(g, 0.5), y)],
  reciprocal: (g, y) => [neg(mul(g, mul(y, y)))],
  abs: (g, { inputs: [x] }) => [where(less(x!, 0), neg(g), g)],
  sin: (g, { inputs: [x] }) => [mul(g, cos(x!))],
  cos: (g, { inputs: [x] }) => [neg(mul(g, sin(x!)))],
  tanh: (g, y) => [mul(g, sub(1, mul(y, y)))],
  sigmoid: (g, y) => [mul(g, mul(y, sub(1, y)))],
  // y = x s(x): y' = s + x s (1 - s) = s + y (1 - s)
  silu: (g, y) => [mul(g, add(sigmoid(y.inputs[0]!), mul(y, sub(1, sigmoid(y.inputs[0]!)))))],
  less: none,
  greater: none,
  equal: none,
  where: (g, { inputs: [condition] }) => [undefined, where(condition!, g, 0), where(condition!, 0, g)],
  cast: (g, { inputs: [x] }) => [isFloat(x!.dtype) ? cast(g, x!.dtype) : undefined],
  stopGradient: none,
  softmax: (g, y) => [mul(y, sub(g, sumLast(mul(g, y))))],
  logSoftmax: (g, y) => [sub(g, mul(exp(y), sumLast(g)))],
  argMax: none,
  matmul: (g, { inputs: [a, b] }) => [matmul(g, swapLast(b!)), matmul(swapLast(a!), g)],
  // y = A B, where A and B are a and b, transposed or not: dA = g B', dB = A' g; the transposes fold into the flags.
  gemm: (g, { inputs: [a, b], attributes: { transposeA, transposeB } }) => [
    transposeA
      ? gemm(b!, g, { transposeA: transposeB, transposeB: true })
      : gemm(g, b!, { transposeB: !transposeB }),
    transposeB
      ? gemm(g, a!, { transposeA: true, transposeB: transposeA })
      : gemm(a!, g, { transposeA: !transposeA }),
  ],
  transpose: (g, { attributes: { permutation } }) => [
    transpose(
      g,
      permutation.map((_, axis) => permutation.indexOf(axis)),
    ),
  ],
  reshape: (g, { inputs: [x] }) => [reshape(g, x!.shape)],
  expand: (g) => [g],
  slice: (g, { inputs: [x], attributes: { axis, start, end } }) => [
    pad(g, axis, start, x!.shape[axis]! - end),
  ],
  pad: (g, { inputs: [x], attributes: { axis, before } }) => [
    slice(g, axis, before, before + x!.shape[axis]!),
  ],
  concat: (g, { inputs, attributes: { axis } }) => {
    let start = 0;
    return inputs.map((x) => slice(g, axis, start, (start += x.shape[axis]!)));
  },
  // One-hot product instead of a scatter, which not every device accumulates: (ids, rows)' x (ids, columns).
  gather: (g, { inputs: [table, ids] }) => {
    const rows = table!.shape[0]!;
    const count = elementCount(ids!.shape);
    const hot = oneHot(reshape(ids!, [count]), rows, g.dtype);
    return [
      reshape(
        gemm(hot, reshape(g, [count, elementCount(g.shape) / count]), { transposeA: true }),
        table!.shape,
      ),
    ];
  },
  reduceSum: (g, { inputs: [x], attributes }) => [expand(keepReduced(g, x!, attributes), x!.shape)],
  reduceMean: (g, y) => {
    const x = y.inputs[0]!;
    const share = elementCount(y.shape) / elementCount(x.shape);
    return [expand(keepReduced(mul(g, share), x, y.attributes), x.shape)];
  },
  // Equal maxima share the gradient.
  reduceMax: (g, y) => {
    const x = y.inputs[0]!;
    const isMaximum = cast(equal(x, keepReduced(y, x, y.attributes)), x.dtype);
    const count = reduceSum(isMaximum, { axes: y.attributes.axes, keepDims: true });
    return [mul(isMaximum, div(keepReduced(g, x, y.attributes), count))];
  },
  loop: impossible,
  result: impossible,
  fused: impossible,
};

/**
 * d loss / d w for each `w`, as values of w's shape; zeros where the loss does not depend on w.
 * @throws RangeError if `loss` is no float scalar, or a path to a `w` goes through an operator without a gradient.
 */
export function gradient(loss: Value, wrt: readonly Value[]): readonly Value[] {
  if (loss.shape.length > 0 || !isFloat(loss.dtype))
    throw new RangeError(`the loss is ${describeType(loss)}, not a float scalar`);
  const order = pathsTo(new Set(wrt), loss);
  const gradients = new Map<Value, Value>([[loss, constant(1, loss.dtype)]]);
  const onPath = new Set(order);
  for (const y of order.toReversed()) {
    const g = gradients.get(y);
    if (g === undefined) continue;
    if (!y.inputs.some((x) => onPath.has(x))) continue;
    const rule = rules[y.op] as GradientRule<OperatorKind>; // the table ties rule and operator together
    for (const [index, contribution] of rule(g, y).entries()) {
      const x = y.inputs[index]!;
      if (contribution === undefined || !onPath.has(x)) continue;
      const reduced = reduceTo(contribution, x.shape);
      const earlier = gradients.get(x);
      gradients.set(x, earlier === undefined ? reduced : add(earlier, reduced));
    }
  }
  return wrt.map((w) => gradients.get(w) ?? expand(constant(0, w.dtype), w.shape));
}

/** The values between `wrt` and `loss`, inputs before what uses them. */
function pathsTo(wrt: ReadonlySet<Value>, loss: Value): readonly Value[] {
  const reaches = new Map<Value, boolean>();
  const order: Value[] = [];
  const visit = (value: Value): boolean => {
    const known = reaches.get(value);
    if (known !== undefined) return known;
    const answer = value.inputs.map(visit).includes(true) || wrt.has(value);
    reaches.set(value, answer);
    if (answer) order.push(value);
    return answer;
  };
  visit(loss);
  return order;
}
