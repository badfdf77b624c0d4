/** The search problem: pick one alternative per group, so that the score is best and every limit holds. Plain data. */

/**
 * `minimise` or `maximise` the sum of the chosen alternatives' scores plus `fixed`.
 *
 * Puzzle (arXiv 2411.19146, section 4): binary x_ij, one j per layer i, sum of score_ij x_ij best, sums of costs within
 * budgets. This is the multiple-choice knapsack problem (Kellerer, Pferschy & Pisinger, "Knapsack Problems", 2004,
 * chapter 11) with several resources.
 */
export interface Problem {
  readonly groups: readonly Group[];
  readonly resources: readonly Resource[];
  readonly objective: Objective;
  readonly constraints: readonly Constraint[];
}

export interface Objective {
  readonly sense: 'minimise' | 'maximise';
  /** What the score measures, for people: `kl_div`. */
  readonly metric: string;
  /** The part no choice changes; 0 if absent. */
  readonly fixed?: number;
}

/** A slot of the model, or several slots whose costs don't add. Exactly one alternative is chosen. */
export interface Group {
  readonly name: string;
  /** The model layer it belongs to; several groups may share one. */
  readonly layer: number;
  readonly alternatives: readonly Alternative[];
}

export interface Alternative {
  readonly name: string;
  readonly score: number;
  /** What it takes of each resource, in the order of `problem.resources`. */
  readonly uses: readonly number[];
  /** What `count` constraints refer to: `attention`. */
  readonly tags?: readonly string[];
}

/** An additive quantity, limited or only reported. */
export interface Resource {
  readonly name: string;
  /** The part no choice changes: embeddings, head, runtime. */
  readonly fixed: number;
  readonly lower?: number;
  readonly upper?: number;
}

/** Indices are positions in `problem.groups` and in the group's alternatives. */
export type Constraint = Forbid | Force | Differ | Count | Equal;

export interface Forbid {
  readonly kind: 'forbid';
  readonly group: number;
  readonly alternative: number;
}

export interface Force {
  readonly kind: 'force';
  readonly group: number;
  readonly alternative: number;
}

/** The number of groups (or of layers, `unit`) in which the choice differs from `from` lies in [atLeast, atMost]. */
export interface Differ {
  readonly kind: 'differ';
  readonly from: readonly number[];
  readonly atLeast?: number;
  readonly atMost?: number;
  /** `group` if absent. A layer differs when any of its groups does. */
  readonly unit?: 'group' | 'layer';
}

/** The number of groups whose chosen alternative carries `tag` lies in [atLeast, atMost]. */
export interface Count {
  readonly kind: 'count';
  readonly tag: string;
  readonly atLeast?: number;
  readonly atMost?: number;
  /** Only groups of these layers count; all if absent. */
  readonly layers?: readonly number[];
}

/** The same-named alternative in all of these groups, as uniform-width methods such as Minitron choose. */
export interface Equal {
  readonly kind: 'equal';
  readonly groups: readonly number[];
}

/** One alternative per group, by position. */
export type Choice = readonly number[];

export interface Solution {
  /** `feasible`: the time limit struck before the proof; `unknown`: before any choice was found. */
  readonly status: 'optimal' | 'feasible' | 'infeasible' | 'unknown';
  /** Empty when infeasible or unknown. */
  readonly choice: Choice;
  /** Objective of `choice`, with its fixed part; +Infinity (minimise) or -Infinity (maximise) without one. */
  readonly value: number;
  /** No choice whatever is better than this. */
  readonly bound: number;
  /** |value - bound| / max(|value|, |bound|): 0 when optimal, Infinity when unknown. */
  readonly gap: number;
  /** Per resource, with its fixed part; empty when there is no choice. */
  readonly totals: readonly number[];
  readonly solver: SolverName;
  /** Branch-and-bound nodes or dynamic-programming labels, as the solver counts them. */
  readonly nodes: number;
  readonly milliseconds: number;
  /**
   * Per resource: the derivative of the relaxed optimum with respect to the limit that binds (0 where none does), in
   * score units per resource unit. With an upper limit and `minimise` it is <= 0. Absent from solvers without duals.
   */
  readonly multipliers?: readonly number[];
}

export const solverNames = ['exact', 'highs', 'glpk', 'javascript-lp-solver'] as const;

export type SolverName = (typeof solverNames)[number];

export interface SolveOptions {
  /** `auto` (the default): the exact solver where the problem has its shape, HiGHS otherwise. */
  readonly solver?: SolverName | 'auto';
  /** Wall-clock limit; none if absent. */
  readonly timeLimitMs?: number;
  /** Stop when the proven relative gap is at most this; 0 if absent. */
  readonly gap?: number;
  /** A choice to start from; ignored when it doesn't satisfy the problem. */
  readonly warmStart?: Choice;
}
