/** Closed forms of a slot's blocks from second moments alone: float64, no device, plain data in and out. */
import { addProduct, block, copy, matrix, symmetricEigen, transpose, type Matrix } from '../algebra/index.ts';
import { blockOf, contributions, type TeacherBlock, type Weights } from '../blocks/index.ts';
import type { BlockConfig } from '../model/architecture.ts';
import { float32, type Tensor } from '../tensor/tensor.ts';
import { ridge, type Moments } from './least-squares.ts';
import { narrow, type Ranking } from './narrowing.ts';
import { intoMetric, outOfMetric, outputMetric, type OutputMetric } from './output-metric.ts';

export interface SlotProblem {
  readonly teacher: TeacherBlock;
  readonly alternatives: readonly BlockConfig[];
  readonly ranking: Ranking;
  /** Of the teacher's features; for alternatives on part of them. */
  readonly gram?: Matrix;
  /** The teacher's outputs on its normalised inputs; for linear maps. */
  readonly inputs?: Pick<Moments, 'gram' | 'cross'>;
  /** What the output's directions matter (hidden, hidden); all alike if absent. */
  readonly sensitivity?: Matrix;
}

export interface ClosedForm {
  readonly weights: Weights<Tensor<'float32'>>;
  /** Of a block on part of the teacher's features: which, in the order of its own. */
  readonly channels?: readonly number[];
}

/** How a block's features come from what the teacher computes anyway; undefined for features of its own. */
export function sourceOf(config: BlockConfig, teacher: BlockConfig): 'features' | 'inputs' | undefined {
  const { narrowing, linearMap } = blockOf(config);
  if (narrowing?.(config, teacher) !== undefined) return 'features';
  return linearMap === undefined ? undefined : 'inputs';
}

/** Per alternative; undefined for those whose features are their own. */
export function closedForms(problem: SlotProblem): readonly (ClosedForm | undefined)[] {
  const { teacher, alternatives } = problem;
  const of = (source: 'features' | 'inputs'): readonly BlockConfig[] =>
    alternatives.filter((config) => sourceOf(config, teacher.config) === source);
  const metric = problem.sensitivity && outputMetric(problem.sensitivity);
  const solved = new Map([
    ...narrowed(problem, of('features'), metric),
    ...linearMaps(problem, of('inputs'), metric),
  ]);
  return alternatives.map((config) => solved.get(config));
}

type Solved = readonly (readonly [BlockConfig, ClosedForm])[];

/** All parts of the teacher's block from one factorisation of its features' Gram matrix. */
function narrowed(
  { teacher, ranking, gram }: SlotProblem,
  configs: readonly BlockConfig[],
  metric: OutputMetric | undefined,
): Solved {
  if (configs.length === 0 || gram === undefined) return [];
  const { config, weights } = teacher;
  const { output, selectChannels } = blockOf(config);
  const parts = configs.map((narrower) => blockOf(narrower).narrowing!(narrower, config)!);
  const map = toMatrix(weights[output!]!); // (hidden, features)
  const features = {
    grid: parts[0]!.from,
    map,
    ...(metric && { judged: intoMetric(metric, map) }),
    gram,
    contributions: contributions(teacher, weights[output!]!),
  };
  const kept = narrow(
    ranking,
    features,
    parts.map(({ to }) => to),
  );
  return configs.map((narrower, i) => {
    const { channels, map: refit } = kept[i]!;
    const selected = selectChannels!(teacher, channels);
    return [narrower, { weights: { ...selected, [output!]: toTensor(refit) }, channels }];
  });
}

/**
 * All linear maps from one ridge solution W = C A^-1, C = sum y x^T, A the damped Gram matrix of the inputs. What a map
 * M loses against it is tr((W - M) A (W - M)^T), so the best of rank r is U U^T W with U the r leading eigenvectors
 * of W A W^T = C W^T (reduced-rank regression, Izenman 1975), in the metric of the outputs.
 */
function linearMaps(
  { teacher, inputs }: SlotProblem,
  configs: readonly BlockConfig[],
  metric: OutputMetric | undefined,
): Solved {
  if (configs.length === 0 || inputs === undefined) return [];
  const w = ridge(inputs); // (hidden, hidden)
  const ranks = configs.map((config) => blockOf(config).linearMap!.rank?.(config));
  const most = Math.max(0, ...ranks.map((rank) => rank ?? 0));
  const factors = most === 0 ? undefined : leadingFactors(metric, w, inputs.cross, most);
  return configs.map((config, i) => {
    const { linearMap } = blockOf(config);
    const norm = { ...teacher.weights['norm']!, data: teacher.weights['norm']!.data.slice() };
    const rank = ranks[i];
    if (rank === undefined) return [config, { weights: linearMap!.weights(norm, toTensor(w)) }];
    const { leading, reduced } = factors!;
    const expand = toTensor(block(leading, 0, 0, leading.rows, rank)); // (hidden, rank)
    const reduce = toTensor(block(reduced, 0, 0, rank, reduced.columns)); // (rank, hidden)
    return [config, { weights: linearMap!.weights(norm, expand, reduce) }];
  });
}

/** The leading eigenvectors U of C W^T in the metric, and U^T W: (hidden, rank) out of the metric, and (rank, hidden). */
function leadingFactors(
  metric: OutputMetric | undefined,
  map: Matrix,
  cross: Matrix,
  rank: number,
): { leading: Matrix; reduced: Matrix } {
  const w = intoMetric(metric, map);
  const outputs = matrix(w.rows, w.rows);
  addProduct(outputs, w, intoMetric(metric, cross)); // W C^T = W A W^T
  const basis = block(symmetricEigen(outputs).vectors, 0, 0, rank, w.rows);
  const reduced = matrix(rank, w.columns);
  addProduct(reduced, basis, transpose(w));
  return { leading: outOfMetric(metric, transpose(basis)), reduced };
}

/** A block with its output matrix refitted to the teacher's outputs; all else stays. */
export const refitted = (
  config: BlockConfig,
  weights: Weights<Tensor<'float32'>>,
  statistics: Moments,
): Weights<Tensor<'float32'>> => ({ ...weights, [blockOf(config).output!]: toTensor(ridge(statistics)) });

export const toMatrix = ({ data, shape }: Tensor<'float32'>): Matrix =>
  matrix(shape[0]!, shape[1]!, Float64Array.from(data));

export const toTensor = (m: Matrix): Tensor<'float32'> =>
  float32(Float32Array.from(copy(m).data), [m.rows, m.columns]);
