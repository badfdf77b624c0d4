import { expect, test } from 'vitest';
import { csv, textTable } from '../../src/util/text-table.ts';

test('columns are aligned: text left, numbers right', () => {
  expect(
    textTable([
      ['name', 'memory', 'note'],
      ['a', '9 GiB', 'x'],
      ['longer', '12.5 GiB', ''],
    ]),
  ).toBe(['name      memory  note', 'a          9 GiB  x', 'longer  12.5 GiB'].join('\n'));
});

test('CSV quotes what needs it', () => {
  expect(
    csv([
      ['a', 'b'],
      [1.5, 'x, "y"'],
      [null, 'two\nlines'],
    ]),
  ).toBe('a,b\r\n1.5,"x, ""y"""\r\n,"two\nlines"\r\n');
});
