/** Costs of every alternative of every group, the form in which the search takes them. */
import type { StreamConfig } from '../model/architecture.ts';
import { costModel } from './block-cost.ts';
import type { Cost } from './block-cost.ts';
import type { BlockShape } from './block-shape.ts';
import { activationBytes } from './memory.ts';
import type { HardwareProfile } from './profile.ts';
import type { Workload } from './workload.ts';

export interface CostTable {
  /** Embedding, final norm, head. */
  readonly nonBlock: Cost;
  /** Peak over all alternatives, since the widest block decides and the search's sums are additive. */
  readonly activationBytes: number;
  /** As the workload says, else none: budgets that are shares of the teacher count what the model itself takes. */
  readonly reserveBytes: number;
  /** By group, by alternative. */
  readonly alternatives: readonly (readonly Cost[])[];
}

/**
 * What the search needs: a request batch takes latency = prefill + decode, summed over the non-block part and the
 * chosen blocks; throughput = batch * output tokens / latency (prompt tokens where nothing is generated), the paper's
 * `batch * tokens / time` (arXiv 2411.19146, eq. 2). Alternatives of equal identity are costed once.
 */
export function costTable(
  stream: StreamConfig,
  groups: readonly (readonly BlockShape[])[],
  workload: Workload,
  profile: HardwareProfile,
): CostTable {
  const model = costModel(profile, workload);
  const remembered = new Map<BlockShape, Cost>();
  const cost = (shape: BlockShape): Cost => {
    const found = remembered.get(shape) ?? model.block(shape);
    remembered.set(shape, found);
    return found;
  };
  return {
    nonBlock: model.nonBlock(stream),
    activationBytes: activationBytes(stream, groups.flat(), workload),
    reserveBytes: workload.reserveBytes ?? 0,
    alternatives: groups.map((group) => group.map(cost)),
  };
}

/** Time of a whole batch's request: prefill and all decode steps. */
export const latencyMs = (cost: Cost): number => cost.prefillMs.value + cost.decodeMs.value;

/** Tokens a second that a batch yields in `latency` ms: generated ones, or prompt tokens where none is generated. */
export function throughputTokensPerSecond(w: Workload, latency: number): number {
  return (w.batch * (w.outputTokens === 0 ? w.inputTokens : w.outputTokens) * 1e3) / latency;
}
