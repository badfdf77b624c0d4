/** Library: trained alternatives of every slot, and the refit of students made of them. */
export {
  buildLibrary,
  closedFormOptions,
  defaultLibraryOptions,
  type BlockRecord,
  type LibraryBlock,
  type LibraryJob,
  type LibraryOptions,
  type SlotLibrary,
} from './build-library.ts';
export { paperInitialisation, type BlockWeights } from './paper-initialisation.ts';
export { rankings, type Ranking } from './narrowing.ts';
export type { TokenWeights } from './statistics.ts';
export type { DistilOptions } from './distil.ts';
export { defaultRefitOptions, refitStudent, type RefitOptions } from './refit.ts';
export { trainBlocks, type BlockTraining, type TrainedBlock } from './train-blocks.ts';
export { sensitivities, type SlotSensitivity } from './sensitivity.ts';
