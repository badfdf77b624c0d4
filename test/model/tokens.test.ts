import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { createTokenizer, cutWindows, readTokens } from '../../src/model/index.ts';
import { temporaryFolder } from '../tensor/tensor-files.ts';
import { tokenizerJson } from './tiny-tokenizer.ts';

const home = temporaryFolder();
const tokenizer = createTokenizer(tokenizerJson(), 'tokenizer.json', () => ({
  'tokenizer.json': '',
  'tokenizer_config.json': '',
}));
const written = (name: string, content: string | Uint8Array): string => {
  writeFileSync(join(home, name), content);
  return join(home, name);
};

const [first, second] = [written('a.txt', 'the others gather\n'), written('b.txt', 'rather together')];

test('texts follow each other in the order given', async () => {
  const [a, b] = [tokenizer.encode('the others gather\n'), tokenizer.encode('rather together')];
  expect([...(await readTokens([first, second], tokenizer))]).toEqual([...a, ...b]);
  expect([...(await readTokens([second, first], tokenizer))]).toEqual([...b, ...a]);
  expect([...(await readTokens([first, second], tokenizer, a.length + 1))]).toEqual([...a, b[0]]);
});

test.each([
  ['an empty file', '', 'text-invalid'],
  ['white space', ' \n\t\n', 'text-invalid'],
  ['what is not UTF-8', Uint8Array.of(0x61, 0xff, 0x62), 'file-invalid'],
])('%s is refused', async (_, content, code) => {
  const path = written('bad.txt', content);
  await expect(readTokens([path], tokenizer)).rejects.toMatchObject({ code, context: { at: path } });
});

test('a missing file is refused', async () => {
  await expect(readTokens([join(home, 'absent.txt')], tokenizer)).rejects.toMatchObject({
    code: 'file-missing',
  });
});

test('windows do not overlap and start at the start', () => {
  const ids = Int32Array.of(0, 1, 2, 3, 4, 5, 6);
  expect(cutWindows(ids, 3, undefined, 'text')).toEqual({
    window: 3,
    count: 2,
    ids: Int32Array.of(0, 1, 2, 3, 4, 5),
  });
  expect(cutWindows(ids, 3, 1, 'text')).toEqual({ window: 3, count: 1, ids: Int32Array.of(0, 1, 2) });
});

test.each([
  [3, 3],
  [8, undefined],
])('a text too short for windows of %i is refused with what is there and what is needed', (window, count) => {
  expect(() => cutWindows(new Int32Array(7), window, count, 'text.txt')).toThrow(
    expect.objectContaining({
      code: 'text-too-short',
      context: expect.objectContaining({
        at: 'text.txt',
        details: { availableTokens: 7, neededTokens: window * (count ?? 1) },
      }),
    }),
  );
});
