/** Partial choices over some groups, sorted by reduced cost: one side of the two-list enumeration. */

/** Growable columns of numbers; a label is a row. */
export class LabelList {
  size = 0;
  /** Sum of reduced costs. */
  cost: Float64Array;
  /** Sums of weights, `rows` per label. */
  total: Float64Array;
  /** Where the label's choices are written down, see `Trail`. */
  node: Int32Array;
  readonly rows: number;

  constructor(rows: number, capacity: number) {
    this.rows = rows;
    this.cost = new Float64Array(capacity);
    this.total = new Float64Array(capacity * rows);
    this.node = new Int32Array(capacity);
  }

  /** Back to the one label that has chosen nothing. */
  reset(): void {
    this.size = 1;
    this.cost[0] = 0;
    this.total.fill(0, 0, this.rows);
    this.node[0] = 0;
  }

  grow(): void {
    this.cost = doubled(this.cost);
    this.total = doubled(this.total);
    this.node = doubled(this.node);
  }
}

/** The choices of all labels as one tree: a label is a path to the root. First columns of groups leave no trace. */
export class Trail {
  #size = 1;
  #parent = new Int32Array(1024);
  #column = new Int32Array(1024);

  clear(): void {
    this.#size = 1;
  }

  add(parent: number, column: number): number {
    if (this.#size === this.#parent.length) {
      this.#parent = doubled(this.#parent);
      this.#column = doubled(this.#column);
    }
    this.#parent[this.#size] = parent;
    this.#column[this.#size] = column;
    return this.#size++;
  }

  columns(node: number): number[] {
    const columns: number[] = [];
    for (let at = node; at !== 0; at = this.#parent[at]!) columns.push(this.#column[at]!);
    return columns;
  }
}

/** A copy with twice the room. */
export function doubled<T extends Float64Array | Int32Array>(values: T): T {
  const larger = new (values.constructor as new (length: number) => T)(Math.max(1, 2 * values.length));
  larger.set(values);
  return larger;
}
