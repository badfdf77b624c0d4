import * as fc from 'fast-check';
import { expect, test } from 'vitest';
import { z } from 'zod';
import { checkAgainst, parseJson } from '../../src/util/json.ts';

test('what JSON.parse reads is read alike', () => {
  fc.assert(
    fc.property(fc.jsonValue(), (value) => {
      expect(parseJson(JSON.stringify(value), 'file')).toEqual(JSON.parse(JSON.stringify(value)));
    }),
    { numRuns: 300 },
  );
});

test.each([
  ['{"layer_0": {}, "layer_0": {}}', 'f: layer_0', /occurs twice/],
  ['{"a": [{"b": 1}, {"b": 1, "\\u0062": 2}]}', 'f: a: 1: b', /occurs twice/],
  ['{"a": [1, {"kl": NaN}]}', 'f: a: 1: kl', /NaN/],
  ['[1, 2, -Infinity]', 'f: 2', /Infinity/],
  ['{"a": 1', 'f', /not valid JSON/],
  ['', 'f', /not valid JSON/],
])('%s is refused at %s', (text, at, message) => {
  expect(() => parseJson(text, 'f')).toThrow(
    expect.objectContaining({ code: 'file-invalid', context: expect.objectContaining({ at }) }),
  );
  expect(() => parseJson(text, 'f')).toThrow(message);
});

test('keys of different objects may be equal, and "NaN" may be a text', () => {
  expect(parseJson('{"a": {"x": 1}, "b": {"x": "NaN", "y": "}"}}', 'f')).toEqual({
    a: { x: 1 },
    b: { x: 'NaN', y: '}' },
  });
});

test('a schema fault names the field, also inside a union', () => {
  const schema = z.strictObject({
    list: z.array(
      z.union([z.strictObject({ a: z.number() }), z.strictObject({ b: z.strictObject({ c: z.string() }) })]),
    ),
  });
  expect(checkAgainst(schema, { list: [{ a: 1 }] }, 'f', 'fix')).toEqual({ list: [{ a: 1 }] });
  expect(() => checkAgainst(schema, { list: [{ b: { c: 7 } }] }, 'f', 'Do this.')).toThrow(
    expect.objectContaining({
      code: 'file-invalid',
      context: expect.objectContaining({ at: 'f: list: 0: b: c', value: 7, fix: 'Do this.' }),
    }),
  );
  expect(() => checkAgainst(schema, { list: [], more: 1 }, 'f', 'fix')).toThrow(/more/);
});
