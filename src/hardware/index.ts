/** Hardware: workloads, profiles, and what blocks and models cost on them. */
export { costModel } from './block-cost.ts';
export type { BlockShape, Cost, CostModel } from './block-cost.ts';
export { costTable, latencyMs, throughputTokensPerSecond } from './cost-table.ts';
export type { CostTable } from './cost-table.ts';
export { activationBytes, memory } from './memory.ts';
export type { MemoryBytes } from './memory.ts';
export { loadProfile, profileNames } from './load-profile.ts';
export type { HardwareProfile } from './profile.ts';
export type { Quantity, Source } from './quantity.ts';
export { workload, workloadSchema } from './workload.ts';
export type { Workload } from './workload.ts';
export { timePart, type Timed } from './measured/block-timing.ts';
export {
  blockShares,
  headShares,
  measuredProfileSchemaName,
  parseMeasuredProfile,
  partKey,
  withMeasuredTimes,
  type MeasuredProfile,
} from './measured/measured-profile.ts';
