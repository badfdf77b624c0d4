/** Scores: the damage that each alternative block does. */
export { scoreReplacements, type BlockScore, type ScoreJob, type SlotScores } from './replace-one.ts';
export { onePass, quadraticDamage, type OnePassJob, type SlotProjections } from './one-pass.ts';
