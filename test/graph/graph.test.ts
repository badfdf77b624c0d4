/** Naming, merging and the legality of whole graphs. */
import { describe, expect, test } from 'vitest';
import {
  add,
  constant,
  exp,
  expand,
  graph,
  input,
  loop,
  mul,
  sigmoid,
  silu,
  stopGradient,
  sub,
  type Value,
} from '../../src/graph/index.ts';
import { run } from './run.ts';

const x = input('x', 'float32', [2]);
const two = { dtype: 'float32', shape: [2], data: Float32Array.of(1, 2) } as const;

describe('merging', () => {
  test('equal expressions become one node', () => {
    const twice = add(exp(mul(x, 2)), exp(mul(input('x', 'float32', [2]), 2)));
    expect(graph({ twice }).nodes.map(({ op }) => op)).toEqual(['input', 'constant', 'mul', 'exp', 'add']);
  });

  test('constants merge by content, not by identity', () => {
    const sum = add(add(x, constant(1)), constant(1));
    expect(graph({ sum }).nodes.filter(({ op }) => op === 'constant')).toHaveLength(1);
    const other = add(add(x, constant(1)), constant(-1));
    expect(graph({ other }).nodes.filter(({ op }) => op === 'constant')).toHaveLength(2);
  });

  test('silu shares its sigmoid with whoever computes the same', () => {
    const nodes = graph({ a: silu(x), b: sub(1, sigmoid(x)) }).nodes;
    expect(nodes.filter(({ op }) => op === 'sigmoid')).toHaveLength(1);
  });

  test('stopGradient leaves no node', () => {
    expect(graph({ y: exp(stopGradient(x)) }).nodes.map(({ op }) => op)).toEqual(['input', 'exp']);
  });

  test('what a broadcasting operator reads is not expanded for it', () => {
    const y = mul(expand(input('s', 'float32', []), [2]), x);
    expect(graph({ y }).nodes.map(({ op }) => op)).toEqual(['input', 'input', 'mul']);
    const full = mul(expand(input('s', 'float32', []), [2]), 2);
    expect(graph({ full }).nodes.map(({ op }) => op)).toContain('expand');
  });

  test('an output may be an input, and two outputs one value', async () => {
    const y = exp(x);
    const outputs = await run(graph({ same: x, y, again: y }), { x: two });
    expect(outputs['same']!.data).toEqual([1, 2]);
    expect(outputs['again']).toEqual(outputs['y']);
  });
});

describe('a loop', () => {
  test('computes outside what does not change inside', async () => {
    const { state, collected } = loop(4, { sum: x }, (iteration, { sum }) => ({
      state: { sum: add(sum, exp(mul(x, 0))) },
      collected: { iteration, sum },
    }));
    const made = graph({ sum: state.sum, sums: collected.sum, iterations: collected.iteration });
    expect(made.nodes.map(({ op }) => op)).toContain('exp');
    const outputs = await run(made, { x: two });
    expect(outputs['sum']!.data).toEqual([5, 6]);
    expect(outputs['sums']).toEqual({ shape: [4, 2], data: [1, 2, 2, 3, 3, 4, 4, 5] });
    expect(outputs['iterations']!.data).toEqual([0, 1, 2, 3]);
  });

  test('may stand in another', async () => {
    const { state } = loop(3, { outer: x }, (_, { outer }) => ({
      state: {
        outer: loop(2, { inner: outer }, (_, { inner }) => ({
          state: { inner: add(inner, outer) },
          collected: {},
        })).state.inner,
      },
      collected: {},
    }));
    expect((await run(graph({ y: state.outer }), { x: two })).y!.data).toEqual([27, 54]);
  });

  test('may return what it was given, or what it never changes', async () => {
    const { state, collected } = loop(2, { a: x }, (_, { a }) => ({
      state: { a },
      collected: { fixed: exp(mul(x, 0)) },
    }));
    const outputs = await run(graph({ a: state.a, fixed: collected.fixed }), { x: two });
    expect(outputs['a']!.data).toEqual([1, 2]);
    expect(outputs['fixed']!.data).toEqual([1, 1, 1, 1]);
  });

  test('keeps the type of its state', () => {
    expect(() => loop(2, { a: x }, () => ({ state: { a: constant(1) }, collected: {} }))).toThrow(
      'a state of float32[2] became float32[]',
    );
  });
});

describe('the law', () => {
  const escaped: Value[] = [];
  loop(2, { a: x }, (_, { a }) => {
    escaped.push(exp(a));
    return { state: { a }, collected: {} };
  });
  const forged = { ...exp(x), shape: [3] } as Value;
  const tooLarge = { dtype: 'float32', shape: [1024, 1025], data: new Float32Array(1024 * 1025) } as const;

  test.each<[string, Record<string, Value>, RegExp]>([
    ['forbids empty graphs', {}, /needs an output/],
    ['forbids two inputs of one name', { y: add(x, input('x', 'float32', [1])) }, /two inputs are called x/],
    ['forbids an output with the name of an input', { x: exp(x) }, /the name of an input and of an output/],
    [
      'forbids loop variables outside their loop',
      { y: escaped[0]! },
      /loopVariable .* is used outside its loop/,
    ],
    ['forbids a type that the inputs do not give', { y: forged }, /exp float32\[3\] states another type/],
    ['forbids nameless inputs', { y: exp(input('', 'float32', [])) }, /cannot be called ""/],
    [
      'keeps colons for emission, in inputs',
      { y: exp(input('exp:0', 'float32', [])) },
      /cannot be called "exp:0"/,
    ],
    ['keeps colons for emission, in outputs', { 'exp:0': exp(x) }, /"exp:0" cannot name an output/],
    ['forbids extents that are not positive', { y: input('n', 'float32', [0]) }, /no positive integer/],
    ['forbids large constants', { y: constant(tooLarge) }, /too large for a constant/],
    [
      'forbids constants that do not fill their shape',
      { y: constant({ ...tooLarge, shape: [3] }) },
      /does not fill its shape/,
    ],
  ])('%s', (_, outputs, message) => {
    expect(() => graph(outputs)).toThrow(message);
  });
});
