/** What a solver says, before the recheck turns it into a `Solution`. */

import type { Choice } from '../problem.ts';

export type Answer =
  | { readonly kind: 'infeasible'; readonly nodes: number }
  | { readonly kind: 'unknown'; readonly bound: number; readonly nodes: number }
  | {
      readonly kind: 'found';
      readonly choice: Choice;
      /** The solver claims that nothing is better (or better by more than the gap asked for). */
      readonly proven: boolean;
      readonly bound: number;
      readonly nodes: number;
      readonly multipliers?: readonly number[];
    };
