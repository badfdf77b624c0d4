/** Which blocks a round of gradient BLD trains, and for how long: what gains most per second goes on. */

/** What training may take: seconds of this machine, or tokens summed over the blocks that are trained on them. */
export interface TrainingBudget {
  readonly unit: 'seconds' | 'tokens';
  readonly amount: number;
}

/** What is known of a block. */
export interface Prospect {
  /** Of the block as the library has it, in nats. */
  readonly damage: number;
  /** Nats per second in its last round: 0 stopped it; undefined before the first. */
  readonly rate: number | undefined;
  /** Cost of a step in the budget's unit; undefined before it was measured. */
  readonly stepCost: number | undefined;
}

/** Steps of one block in one round. */
export interface Assignment<P extends Prospect> {
  readonly block: P;
  readonly steps: number;
}

/** Every block is tried with this many steps; what it gains and takes decides about more. */
export const probeSteps = 16;

/** Calls of the training loop make this many: fewer would cost as much. */
const leastSteps = 4;

/**
 * The first round probes all blocks, those of the largest damage first where not all can be paid. A later one takes the
 * better half by rate, in equal shares; one whose validation did not gain has stopped early and is not tried again.
 *
 * @param share of the budget that this round may use
 */
export function assignments<P extends Prospect>(
  blocks: readonly P[],
  share: number,
): readonly Assignment<P>[] {
  if (share <= 0) return [];
  const untried = blocks.filter(({ rate }) => rate === undefined);
  if (untried.length === blocks.length) return probes(untried, share);
  const gaining = blocks.filter(({ rate = 0 }) => rate > 0).sort((a, b) => b.rate! - a.rate!);
  const better = gaining.slice(0, Math.ceil(blocks.length / 2));
  return better.flatMap((block): Assignment<P>[] => {
    const affordable = share / better.length / block.stepCost!;
    const steps = Math.floor(affordable / leastSteps) * leastSteps;
    return steps > 0 ? [{ block, steps }] : [];
  });
}

function probes<P extends Prospect>(blocks: readonly P[], share: number): readonly Assignment<P>[] {
  let left = share;
  return [...blocks]
    .sort((a, b) => b.damage - a.damage)
    .flatMap((block): Assignment<P>[] => {
      left -= probeSteps * (block.stepCost ?? 0);
      return left >= 0 ? [{ block, steps: probeSteps }] : [];
    });
}
