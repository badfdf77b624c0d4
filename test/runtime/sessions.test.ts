import { expect, test } from 'vitest';
import { Sessions } from '../../src/runtime/sessions.ts';

const MiB = 2 ** 20;

test('the least recently used session makes room where there are too many', () => {
  const sessions = new Sessions(2);
  expect(sessions.touch('a', 1)).toEqual({ isNew: true, arena: true, evict: [] });
  sessions.touch('b', 1);
  expect(sessions.touch('a', 1).isNew).toBe(false);
  expect(sessions.touch('c', 1).evict).toEqual(['b']);
  expect(sessions.touch('b', 1)).toEqual({ isNew: true, arena: true, evict: ['a'] });
  expect(sessions.size).toBe(2);
});

test('what is too large for an arena has none, and is not evicted to free memory that it does not keep', () => {
  const sessions = new Sessions(64);
  expect(sessions.touch('head', 513 * MiB).arena).toBe(false);
  for (const name of ['a', 'b', 'c', 'd']) expect(sessions.touch(name, 512 * MiB).evict).toEqual([]);
  expect(sessions.touch('e', 256 * MiB).evict).toEqual(['a']);
  expect(sessions.touch('head', 513 * MiB).isNew).toBe(false);
  expect(sessions.touch('f', 256 * MiB).evict).toEqual([]);
  expect(sessions.touch('b', 512 * MiB)).toEqual({ isNew: false, arena: true, evict: [] });
  expect(sessions.touch('a', 512 * MiB).evict).toEqual(['c']);
});

test('a session that could not be compiled is new again', () => {
  const sessions = new Sessions(2);
  sessions.touch('a', 1);
  sessions.forget('a');
  expect(sessions.touch('a', 1).isNew).toBe(true);
});
