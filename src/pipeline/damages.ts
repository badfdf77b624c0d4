/** Damages as the search takes them, from whatever was measured, each with its source. */
import { quadraticDamage, type BlockScore } from '../score/index.ts';
import type { Projections } from './one-pass-stage.ts';

/** How a damage is known. */
export type DamageSource =
  /** The teacher's own block has none. */
  | 'teacher'
  /** Replaced in the teacher, every window measured. */
  | 'replace-one'
  /** Second order, from one backward pass. */
  | 'one-pass'
  /** Replaced in the teacher on some windows; one-pass scores, times the ratio found there, on the others. */
  | 'ratio';

/** Damage of one alternative, by held-out sample. */
export interface Damage {
  readonly mean: number;
  readonly samples: Float64Array;
  readonly source: DamageSource;
}

/** Per slot and alternative. */
export type Damages = readonly (readonly Damage[])[];

/** What a block's damage may be measured by; all of them are smaller for a better block. */
export const damageMetrics = ['kl', 'lm_loss', 'top1_disagreement'] as const;
export type DamageMetric = (typeof damageMetrics)[number];

const samplesOf: Readonly<Record<DamageMetric, (score: BlockScore) => readonly number[]>> = {
  kl: ({ kl }) => kl,
  lm_loss: ({ loss }) => loss,
  top1_disagreement: ({ agreement }) => agreement.map((share) => 1 - share),
};

/** What a block adds to the metric of the model it was replaced in. */
export function replaceOneDamage(score: BlockScore, own: BlockScore, metric: DamageMetric): Damage {
  const before = samplesOf[metric](own);
  const samples = Float64Array.from(samplesOf[metric](score), (value, index) => value - before[index]!);
  return damage(samples, 'replace-one');
}

/** @param window tokens per window of the score text */
export const onePassDamages = (
  projections: Projections,
  teacherChoice: readonly number[],
  window: number,
): Damages =>
  projections.map((slot, index) =>
    slot.map((projection, position) =>
      damage(
        Float64Array.from(quadraticDamage(projection, window)),
        position === teacherChoice[index] ? 'teacher' : 'one-pass',
      ),
    ),
  );

/**
 * A ratio estimate (Cochran, "Sampling Techniques", chapter 6): measured windows as they are, the others by one-pass
 * scores times how far those were off on the measured ones. It has the truth's level and the large text's precision.
 *
 * @param measured of the first windows of the same text
 */
export function ratioDamage(measured: Damage, onePass: Damage): Damage {
  const known = measured.samples.length;
  if (known >= onePass.samples.length) return measured;
  const sum = (values: Float64Array): number => values.reduce((total, value) => total + value, 0);
  const predicted = sum(onePass.samples.subarray(0, known));
  const ratio = predicted > 0 ? sum(measured.samples) / predicted : 0;
  const samples = onePass.samples.map((value, index) => measured.samples[index] ?? ratio * value);
  return damage(samples, 'ratio');
}

/** The same source, another level. */
export const scaled = ({ samples, source }: Damage, factor: number): Damage =>
  damage(
    samples.map((value) => factor * value),
    source,
  );

const damage = (samples: Float64Array, source: DamageSource): Damage => ({
  samples,
  mean: samples.reduce((sum, value) => sum + value, 0) / samples.length,
  source,
});
