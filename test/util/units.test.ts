import { expect, test } from 'vitest';
import * as fc from 'fast-check';
import { PuzzleError } from '../../src/util/errors.ts';
import {
  formatAmount,
  formatNumber,
  parseAmount,
  parseRange,
  resolveAmount,
  type Quantity,
} from '../../src/util/units.ts';

const caught = (action: () => unknown): unknown => {
  try {
    return action();
  } catch (error) {
    return error;
  }
};

test.each<[string, Quantity, number]>([
  ['80GiB', 'bytes', 80 * 1024 ** 3],
  ['80000MiB', 'bytes', 80000 * 1024 ** 2],
  ['80 gib', 'bytes', 80 * 1024 ** 3],
  ['1.5GB', 'bytes', 1.5e9],
  ['51.2s', 'duration', 51200],
  ['50ms', 'duration', 50],
  ['800us', 'duration', 0.8],
  ['2min', 'duration', 120_000],
  ['5000tok/s', 'rate', 5000],
  ['5 ktok/s', 'rate', 5000],
  ['6B', 'count', 6e9],
  ['135M', 'count', 135e6],
  ['4096', 'count', 4096],
  ['1e3k', 'count', 1e6],
  ['-0.25', 'score', -0.25],
])('%s is %s of %d', (text, quantity, value) => {
  const amount = parseAmount(text, quantity, '--flag');
  expect(amount.kind).toBe('absolute');
  expect(resolveAmount(amount, 1)).toBeCloseTo(value, 9);
});

test.each<[string, number]>([
  ['85%', 0.85],
  ['1.5x', 1.5],
  ['2X', 2],
])('%s is a factor of the teacher', (text, factor) => {
  for (const quantity of ['bytes', 'duration', 'rate', 'count'] as const) {
    expect(parseAmount(text, quantity, '--flag')).toEqual({ kind: 'relative', factor });
    expect(resolveAmount(parseAmount(text, quantity, '--flag'), 200)).toBeCloseTo(200 * factor);
  }
});

test.each<[string, Quantity]>([
  ['80', 'bytes'],
  ['80s', 'bytes'],
  ['80GiB', 'duration'],
  ['5000', 'rate'],
  ['5ms', 'rate'],
  ['6GiB', 'count'],
  ['-5GiB', 'bytes'],
  ['0GiB', 'bytes'],
  ['0%', 'bytes'],
  ['NaNGiB', 'bytes'],
  ['1e300TiB', 'bytes'],
  ['99999999999TiB', 'bytes'],
  ['1e9x', 'duration'],
  ['', 'bytes'],
  ['GiB', 'bytes'],
  ['1,5GiB', 'bytes'],
  ['85%', 'score'],
])('%s as %s is refused with the flag, the value and the accepted forms', (text, quantity) => {
  const refusal = caught(() => parseAmount(text, quantity, '--memory'));
  expect(refusal).toBeInstanceOf(PuzzleError);
  expect(refusal).toMatchObject({ code: 'bad-unit', context: { at: '--memory', value: text } });
  expect((refusal as PuzzleError).context.fix).toMatch(/Write it like/);
  expect((refusal as PuzzleError).message).toContain('--memory');
});

test('a range has both ends exactly and even steps', () => {
  const range = parseRange('40%..100%:25', 'bytes', '--vary');
  expect(range).toHaveLength(25);
  expect(range[0]).toEqual({ kind: 'relative', factor: 0.4 });
  expect(range.at(-1)).toEqual({ kind: 'relative', factor: 1 });
  expect(range[1]!.kind === 'relative' && range[1]!.factor).toBeCloseTo(0.425, 12);
  expect(parseRange('10GiB..20GiB', 'bytes', '--vary')).toHaveLength(25);
  expect(parseRange('80GiB', 'bytes', '--vary')).toEqual([{ kind: 'absolute', value: 80 * 1024 ** 3 }]);
});

test.each([
  '40%..100GiB:5',
  '40%..100%:1',
  '40%..100%:2.5',
  '40%..100%:x',
  '40%..100%:1000001',
  '..80%',
  '40ms..2s:3',
])('the range %s is refused', (text) => {
  expect(() => parseRange(text, 'bytes', '--vary')).toThrow(expect.objectContaining({ code: 'bad-unit' }));
});

test('what is shown reads back as what was meant, to four digits', () => {
  const quantities = ['bytes', 'duration', 'rate', 'count'] as const;
  fc.assert(
    fc.property(
      fc.constantFrom(...quantities),
      fc.double({ min: 1, max: 1e14, noNaN: true }),
      (quantity, value) => {
        const most = quantity === 'duration' ? 1e12 : 1e14;
        const meant = Math.min(value, most);
        const back = resolveAmount(parseAmount(formatAmount(meant, quantity), quantity, 'shown'), 1);
        expect(Math.abs(back - meant)).toBeLessThanOrEqual(5.1e-4 * meant);
      },
    ),
  );
});

test('amounts are shown in the unit a person would pick', () => {
  expect(formatAmount(80 * 1024 ** 3, 'bytes')).toBe('80 GiB');
  expect(formatAmount(51200, 'duration')).toBe('51.2 s');
  expect(formatAmount(0.8, 'duration')).toBe('800 us');
  expect(formatAmount(5120, 'rate')).toBe('5.12 ktok/s');
  expect(formatAmount(134_515_008, 'count')).toBe('134.5M');
  expect(formatAmount(0, 'bytes')).toBe('0 B');
  expect(formatAmount(Infinity, 'bytes')).toBe('unlimited');
  expect(formatNumber(0.00001234)).toBe('1.234e-5');
});
