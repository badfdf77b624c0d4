/** Hardware: workloads, profiles, and what blocks and models cost on them. */
export type { Cost } from './block-cost.ts';
export { blockShape } from './block-shape.ts';
export type { BlockShape } from './block-shape.ts';
export { costTable, latencyMs, throughputTokensPerSecond } from './cost-table.ts';
export type { CostTable } from './cost-table.ts';
export type { MemoryBytes } from './memory.ts';
export { isProfile, loadProfile, profileNames } from './load-profile.ts';
export type { HardwareProfile } from './profile.ts';
export { roofline } from './roofline.ts';
export type { Load, Roofline } from './roofline.ts';
export { rooflinePicture } from './roofline-picture.ts';
export { limits } from './call-time.ts';
export type { Limit } from './call-time.ts';
export { bestBatch, doesNotFit, estimate } from './estimate.ts';
export type { Estimate } from './estimate.ts';
export { callTime } from './call-time.ts';
export { readRows } from './calibration/read-measurements.ts';
export type { KernelCall } from './kernel-call.ts';
export {
  collectionProfile,
  collectionsIn,
  datasheetDevices,
  renderProfile,
} from './calibration/shipped-profiles.ts';
export { datasheetProfile } from './calibration/datasheet-profile.ts';
export { profileOfBlocks, profileOfRows, profileOfRun } from './calibration/own-profile.ts';
export { parseProfile, profileFileName } from './load-profile.ts';
export type { Quantity, Source } from './quantity.ts';
export { workload } from './workload.ts';
export type { Workload } from './workload.ts';
export { timePart } from './measured/block-timing.ts';
export { timeRequests } from './measured/request-timing.ts';
export { conditions } from './measured/conditions.ts';
export type { Timed } from './measured/timed.ts';
export {
  blockShares,
  headShares,
  measuredProfileSchemaName,
  parseMeasuredProfile,
  partKey,
  withMeasuredTimes,
  type MeasuredProfile,
} from './measured/measured-profile.ts';
