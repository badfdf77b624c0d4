/** Illegal applications are refused when they are written, with the operator and its types in the message. */
import { expect, test } from 'vitest';
import {
  add,
  argMax,
  cast,
  concat,
  constant,
  exp,
  expand,
  fused,
  gather,
  gemm,
  input,
  less,
  loop,
  matmul,
  oneHot,
  pad,
  reduceSum,
  reshape,
  result,
  slice,
  softmax,
  transpose,
  where,
  type Value,
} from '../../src/graph/index.ts';

const matrix = input('m', 'float32', [2, 3]);
const scalar = input('s', 'float32', []);
const ids = input('i', 'int32', [4]);

test.each<[string, () => Value, string]>([
  [
    'shapes that do not broadcast',
    () => add(matrix, input('v', 'float32', [2])),
    'add(float32[2, 3], float32[2]): shapes [2, 3] and [2] do not broadcast',
  ],
  ['mixed element types', () => add(matrix, cast(matrix, 'float64')), 'element types differ'],
  ['functions of integers', () => exp(ids), 'exp(int32[4]): needs a float, not int32'],
  ['two numbers', () => add(1 as unknown as Value, 2), 'one operand must be a value'],
  ['a condition that is no bool', () => where(matrix, matrix, 0), 'the condition must be bool'],
  ['the last axis of a scalar', () => softmax(scalar), 'a scalar has no last axis'],
  ['the largest of a scalar', () => argMax(scalar), 'a scalar has no last axis'],
  ['products of vectors', () => matmul(matrix, input('v', 'float32', [3])), 'needs matrices'],
  [
    'inner extents that differ',
    () => matmul(matrix, matrix),
    'matmul(float32[2, 3], float32[2, 3]): inner extents 3 and 2 differ',
  ],
  [
    'a transposed product that does not fit',
    () => gemm(matrix, matrix, { transposeA: true, transposeB: true }),
    'inner extents 2 and 3 differ',
  ],
  ['gemm of stacks', () => gemm(matrix, reshape(matrix, [3, 2, 1])), 'needs two matrices of rank 2'],
  ['no permutation', () => transpose(matrix, [0, 0]), '[0, 0] is no permutation of its axes'],
  ['reshaping to another size', () => reshape(matrix, [7]), 'does not fill [7]'],
  ['reshaping to nothing', () => reshape(matrix, [0]), 'extents must be positive integers'],
  [
    'expanding an extent that is not 1',
    () => expand(matrix, [4, 3]),
    'shapes [2, 3] and [4, 3] do not broadcast',
  ],
  ['expanding to less', () => expand(matrix, [3]), 'does not expand to [3]'],
  ['empty slices', () => slice(matrix, 1, 2, 2), '[2, 2) is no part of axis 1'],
  ['slices beyond the end', () => slice(matrix, 0, 0, 3), '[0, 3) is no part of axis 0'],
  ['axes that do not exist', () => slice(matrix, 2, 0, 1), 'axis 2 of rank 2'],
  ['negative padding', () => pad(matrix, 0, -1, 0), 'padding must be whole and not negative'],
  ['joining nothing', () => concat([], 0), 'needs an input'],
  [
    'joining shapes that differ elsewhere',
    () => concat([matrix, reshape(matrix, [3, 2])], 0),
    'shapes differ outside axis 0',
  ],
  ['ids that are floats', () => gather(matrix, scalar), 'ids must be int32 or int64'],
  ['rows of a scalar', () => gather(scalar, ids), 'needs a table of rank 1 or more'],
  ['classes of floats', () => oneHot(matrix, 3), 'ids must be integers'],
  ['reducing an axis twice', () => reduceSum(matrix, { axes: [1, -1] }), 'an axis is reduced twice'],
  [
    'a loop that never runs',
    () => loop(0, { x: matrix }, (_, state) => ({ state, collected: {} })).state.x,
    'steps must be a positive integer',
  ],
  [
    'outputs that do not exist',
    () => result(fused('', 'Split', [matrix], {}, [scalar, scalar]), 2),
    'there is no output 2',
  ],
  ['half constants', () => constant(1, 'float16'), 'cast a float32 constant'],
])('%s', (_, build, message) => {
  expect(build).toThrow(RangeError);
  expect(build).toThrow(message);
});

test('numbers take the element type of the other operand', () => {
  expect(less(cast(matrix, 'float64'), 1).inputs[1]!.dtype).toBe('float64');
  expect(add(1, ids).dtype).toBe('int32');
});
