/** For every operator, random applications of it: a new operator does not compile until it has some. */
import fc from 'fast-check';
import {
  abs,
  add,
  argMax,
  cast,
  concat,
  constant,
  cos,
  div,
  equal,
  exp,
  expand,
  fused,
  gather,
  gemm,
  greater,
  less,
  log,
  logSoftmax,
  loop,
  matmul,
  mul,
  neg,
  pad,
  reciprocal,
  reduceMax,
  reduceMean,
  reduceSum,
  reshape,
  sigmoid,
  silu,
  sin,
  slice,
  softmax,
  sqrt,
  stopGradient,
  sub,
  tanh,
  transpose,
  where,
  type Value,
} from '../../src/graph/index.ts';
import type { OperatorKind } from '../../src/graph/value.ts';
import type { Shape } from '../../src/tensor/index.ts';

export interface Sample {
  /** Shapes of the float operands. */
  readonly shapes: readonly Shape[];
  /** `positive` keeps away from 0; `distinct` keeps elements apart, so that no comparison is close. */
  readonly domain: 'any' | 'positive' | 'distinct';
  readonly build: (...operands: readonly Value[]) => Value;
}

const extent = fc.integer({ min: 1, max: 4 });
const shape = (minLength = 0, maxLength = 3): fc.Arbitrary<number[]> =>
  fc.array(extent, { minLength, maxLength });

const unary = (
  build: (x: Value) => Value,
  { domain = 'any', rank = 0 }: { domain?: Sample['domain']; rank?: number } = {},
): fc.Arbitrary<Sample> => shape(rank).map((shape) => ({ shapes: [shape], domain, build: (x) => build(x!) }));

/** A shape that broadcasts to `full`: leading axes dropped, others flattened to 1. */
const broadcastable = (full: readonly number[]): fc.Arbitrary<number[]> =>
  fc
    .record({
      dropped: fc.integer({ min: 0, max: full.length }),
      flattened: fc.array(fc.boolean(), { minLength: full.length, maxLength: full.length }),
    })
    .map(({ dropped, flattened }) => full.map((n, axis) => (flattened[axis] ? 1 : n)).slice(dropped));

const binary = (
  build: (a: Value, b: Value) => Value,
  domain: Sample['domain'] = 'any',
): fc.Arbitrary<Sample> =>
  shape()
    .chain((full) => fc.tuple(broadcastable(full), broadcastable(full)))
    .map((shapes) => ({ shapes, domain, build: (a, b) => build(a!, b!) }));

const axisOf = (shape: Shape): fc.Arbitrary<number> => fc.integer({ min: 0, max: shape.length - 1 });

const reduction = (
  build: (x: Value, options: { axes: number[]; keepDims: boolean }) => Value,
  domain: Sample['domain'],
): fc.Arbitrary<Sample> =>
  shape(1).chain((shape) =>
    fc
      .record({ axes: fc.uniqueArray(axisOf(shape), { minLength: 1 }), keepDims: fc.boolean() })
      .map((options) => ({ shapes: [shape], domain, build: (x) => build(x!, options) })),
  );

export const samples: { readonly [K in OperatorKind]: fc.Arbitrary<Sample> } = {
  input: unary((x) => x),
  constant: unary((x) => add(x, constant(0.5, x.dtype))),
  add: binary(add),
  sub: binary(sub),
  mul: binary(mul),
  div: binary(div, 'positive'),
  neg: unary(neg),
  exp: unary(exp),
  log: unary(log, { domain: 'positive' }),
  sqrt: unary(sqrt, { domain: 'positive' }),
  reciprocal: unary(reciprocal, { domain: 'positive' }),
  abs: unary(abs, { domain: 'distinct' }),
  sin: unary(sin),
  cos: unary(cos),
  tanh: unary(tanh),
  sigmoid: unary(sigmoid),
  silu: unary(silu),
  less: binary((a, b) => where(less(a, b), a, b), 'distinct'),
  greater: binary((a, b) => where(greater(a, b), a, b), 'distinct'),
  equal: binary((a, b) => where(equal(a, b), a, mul(b, 2)), 'distinct'),
  where: binary((a, b) => where(less(mul(a, b), 1), exp(a), sin(b)), 'distinct'),
  cast: unary((x) => mul(x, cast(cast(x, 'float64'), x.dtype))),
  stopGradient: unary((x) => add(mul(x, x), mul(stopGradient(sub(x, x)), x))),
  softmax: unary(softmax, { rank: 1 }),
  logSoftmax: unary(logSoftmax, { rank: 1 }),
  argMax: unary(
    (x) => mul(x, expand(cast(reshape(argMax(x), [...x.shape.slice(0, -1), 1]), x.dtype), x.shape)),
    {
      domain: 'distinct',
      rank: 1,
    },
  ),
  matmul: fc
    .tuple(shape(0, 2), extent, extent, extent)
    .chain(([batch, rows, inner, columns]) =>
      fc.tuple(
        broadcastable(batch).map((batch) => [...batch, rows, inner]),
        broadcastable(batch).map((batch) => [...batch, inner, columns]),
      ),
    )
    .map((shapes) => ({ shapes, domain: 'any', build: (a, b) => matmul(a!, b!) })),
  gemm: fc
    .tuple(extent, extent, extent, fc.boolean(), fc.boolean())
    .map(([rows, inner, columns, transposeA, transposeB]) => ({
      shapes: [transposeA ? [inner, rows] : [rows, inner], transposeB ? [columns, inner] : [inner, columns]],
      domain: 'any',
      build: (a, b) => gemm(a!, b!, { transposeA, transposeB }),
    })),
  transpose: shape(1).chain((shape) =>
    fc
      .shuffledSubarray([...shape.keys()], { minLength: shape.length })
      .map((permutation) => ({ shapes: [shape], domain: 'any', build: (x) => transpose(x!, permutation) })),
  ),
  reshape: unary((x) => reshape(x, [...x.shape.toReversed(), 1])),
  expand: shape()
    .chain((full) => broadcastable(full).map((small) => ({ full, small })))
    .map(({ full, small }) => ({ shapes: [small], domain: 'any', build: (x) => expand(x!, full) })),
  slice: shape(1).chain((shape) =>
    axisOf(shape).chain((axis) =>
      fc
        .tuple(fc.integer({ min: 0, max: shape[axis]! - 1 }), fc.integer({ min: 1, max: shape[axis]! }))
        .filter(([start, end]) => start < end)
        .map(([start, end]) => ({
          shapes: [shape],
          domain: 'any',
          build: (x) => slice(x!, axis, start, end),
        })),
    ),
  ),
  pad: shape(1).chain((shape) =>
    fc.tuple(axisOf(shape), fc.nat(2), fc.nat(2)).map(([axis, before, after]) => ({
      shapes: [shape],
      domain: 'any',
      build: (x) => pad(x!, axis, before, after),
    })),
  ),
  concat: shape(1).chain((shape) =>
    fc.tuple(axisOf(shape), fc.array(extent, { minLength: 1, maxLength: 3 })).map(([axis, extents]) => ({
      shapes: extents.map((n) => shape.map((old, index) => (index === axis ? n : old))),
      domain: 'any',
      build: (...operands) => concat(operands, axis),
    })),
  ),
  gather: fc.tuple(shape(1), fc.array(fc.nat(3), { minLength: 1, maxLength: 5 })).map(([shape, ids]) => ({
    shapes: [shape],
    domain: 'any',
    build: (table) => {
      const data = Int32Array.from(ids, (id) => id % shape[0]!);
      return gather(table!, constant({ dtype: 'int32', shape: [ids.length], data }));
    },
  })),
  reduceSum: reduction(reduceSum, 'any'),
  reduceMean: reduction(reduceMean, 'any'),
  reduceMax: reduction(reduceMax, 'distinct'),
  loop: unary((x) => loop(3, { x }, (_, { x }) => ({ state: { x: sin(x) }, collected: {} })).state.x),
  loopVariable: unary(
    (x) =>
      loop(3, { x }, (iteration, { x }) => ({
        state: { x: add(x, cast(iteration, x.dtype)) },
        collected: {},
      })).state.x,
  ),
  result: unary(
    (x) => loop(3, { x }, (_, { x }) => ({ state: { x: neg(x) }, collected: { x } })).collected.x,
  ),
  fused: unary((x) => fused('', 'Erf', [x], {}, [x])),
};

/** Operators through which no gradient is defined. */
export const withoutGradient: readonly OperatorKind[] = ['loop', 'loopVariable', 'result', 'fused'];
