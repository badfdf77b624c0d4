/** Scores: the damage that each alternative block does, alone and with others. */
export { closeReference, damageOf, openReference, type Damage, type ReferencePass } from './reference.ts';
export { scoreReplacements, type BlockScore, type ScoreJob, type SlotScores } from './replace-one.ts';
export { onePass, quadraticDamage, type OnePassJob, type SlotProjections } from './one-pass.ts';
