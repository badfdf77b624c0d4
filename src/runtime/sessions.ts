/**
 * Which compiled programs a worker keeps, and which of them keep the memory of their intermediate values. Memory from
 * the system is paid for page by page, in every run; kept, it is paid for once and never given back while the session
 * lives. So sessions share an allowance, and the least recently used make room.
 */

/** Bytes that the arenas of a worker may hold together, and those of one session. */
const [allArenas, oneArena] = [2 * 2 ** 30, 512 * 2 ** 20];

export class Sessions {
  /** What the arena of each may hold, least recently used first; 0 for those that have none. */
  readonly #arenas = new Map<string, number>();
  readonly #most: number;

  /** @param most sessions at once */
  constructor(most: number) {
    this.#most = most;
  }

  get size(): number {
    return this.#arenas.size;
  }

  /**
   * Marks a session as the most recently used.
   * @param transientBytes all that a run computes: a bound of what an arena would hold
   * @returns whether it has yet to be compiled, with an arena or without, and those that make room for it
   */
  touch(
    key: string,
    transientBytes: number,
  ): { readonly isNew: boolean; readonly arena: boolean; readonly evict: readonly string[] } {
    const known = this.#arenas.get(key);
    const arenaBytes = known ?? (transientBytes <= oneArena ? transientBytes : 0);
    this.#arenas.delete(key);
    this.#arenas.set(key, arenaBytes);
    const evict: string[] = [];
    let held = [...this.#arenas.values()].reduce((sum, bytes) => sum + bytes, 0);
    for (const [old, bytes] of this.#arenas) {
      const isOver = this.#arenas.size - evict.length > this.#most;
      if (!isOver && held <= allArenas) break;
      if (!isOver && bytes === 0) continue; // gives no memory back
      evict.push(old);
      held -= bytes;
    }
    for (const old of evict) this.#arenas.delete(old);
    return { isNew: known === undefined, arena: arenaBytes > 0, evict };
  }

  /** A session that could not be compiled. */
  forget(key: string): void {
    this.#arenas.delete(key);
  }
}
