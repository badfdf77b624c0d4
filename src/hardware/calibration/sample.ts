/** One measured kernel call, as calibration sees it. */
import type { Coordinates } from '../grid.ts';
import type { Work } from '../smooth.ts';

export interface Sample {
  readonly work: Work;
  readonly at: Coordinates;
  /** The extent by which error bands are told apart: m of a product, length of attention. */
  readonly first: number;
  readonly ms: number;
  /** What is held out together: rows of one shape resemble each other too much to test one on another. */
  readonly shape: string;
}
