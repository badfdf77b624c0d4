/** Many steps of training in one session call: an ONNX loop over stacked batches, with AdamW inside. */
import type { Shape } from '../tensor/tensor.ts';
import { add, gather, input, loop } from './build.ts';
import { gradient } from './gradient.ts';
import { graph, type Graph } from './graph.ts';
import { adamW, clipScale, cosineSchedule, globalNorm, type AdamConstants } from './optimiser.ts';
import type { TensorType, Value } from './value.ts';

type Values = Readonly<Record<string, Value>>;

export interface TrainingSpec {
  /** Scalar float32 loss of one batch. */
  readonly loss: (parameters: Values, batch: Values, constants: Values) => Value;
  /** What is trained, float32. */
  readonly parameters: Readonly<Record<string, Shape>>;
  /** Type of each part of one batch. */
  readonly data: Readonly<Record<string, TensorType>>;
  /** What every step reads and none changes (frozen weights, masks). */
  readonly constants?: Readonly<Record<string, TensorType>>;
  /** Steps per call. */
  readonly steps: number;
  readonly adam?: Partial<AdamConstants>;
}

/** Betas of the public runs after the paper (0.9, 0.95); epsilon of the AdamW paper. */
const defaultAdam: AdamConstants = { beta1: 0.9, beta2: 0.95, epsilon: 1e-8 };

/** Scalars a training graph takes at run time, so that changing one compiles nothing. All float32. */
export interface TrainingScalars {
  /** Steps done before this call: 0 at the start. */
  readonly step: number;
  /** Peak learning rate. */
  readonly learningRate: number;
  readonly warmupSteps: number;
  /** Length of the schedule, over all calls. */
  readonly totalSteps: number;
  /** Learning rate at the end, as a fraction of the peak. */
  readonly finalFraction: number;
  /** Decoupled decay of matrices; vectors never decay. */
  readonly weightDecay: number;
  /** Largest global norm of the gradient; infinity clips nothing. */
  readonly clipNorm: number;
}

/**
 * Graph of `steps` optimiser steps.
 *
 * Inputs: `parameter.<name>`, `mean.<name>`, `square.<name>` (Adam's moments, zeros at the start), `data.<name>` of
 * shape (steps, ...), `constant.<name>`, and the scalars `TrainingScalars` names. Outputs: `next.parameter.<name>`,
 * `next.mean.<name>`, `next.square.<name>`, `next.step`, and (steps,) `losses` and `gradientNorms` (before clipping).
 * Feed the `next.` outputs back for the next call; the schedule goes on where it was.
 */
export function trainingLoop({
  loss,
  parameters,
  data,
  constants = {},
  steps,
  adam = {},
}: TrainingSpec): Graph {
  const names = Object.keys(parameters);
  const stacked = inputs('data', data, (shape) => [steps, ...shape]);
  const invariant = inputs('constant', constants, (shape) => shape);
  const state = Object.fromEntries([
    ...['parameter', 'mean', 'square'].flatMap((part) =>
      names.map(
        (name) => [`${part}.${name}`, input(`${part}.${name}`, 'float32', parameters[name]!)] as const,
      ),
    ),
    ['step', scalar('step')] as const,
  ]);
  const trained = loop(steps, state, (iteration, current) => {
    const batch = mapValues(stacked, (value) => gather(value, iteration));
    const values = names.map((name) => current[`parameter.${name}`]!);
    const lossValue = loss(
      Object.fromEntries(names.map((name, index) => [name, values[index]!])),
      batch,
      invariant,
    );
    const gradients = gradient(lossValue, values);
    const norm = globalNorm(gradients);
    const stepNumber = add(current['step']!, 1);
    const scalars = {
      stepNumber,
      gradientScale: clipScale(norm, scalar('clipNorm')),
      weightDecay: scalar('weightDecay'),
      learningRate: cosineSchedule(stepNumber, {
        peak: scalar('learningRate'),
        warmupSteps: scalar('warmupSteps'),
        totalSteps: scalar('totalSteps'),
        finalFraction: scalar('finalFraction'),
      }),
    };
    const next = names.flatMap((name, index) => {
      const before = {
        parameter: values[index]!,
        mean: current[`mean.${name}`]!,
        square: current[`square.${name}`]!,
      };
      const after = adamW(before, gradients[index]!, scalars, { ...defaultAdam, ...adam });
      return Object.entries(after).map(
        ([part, value]: [string, Value]) => [`${part}.${name}`, value] as const,
      );
    });
    return {
      state: { ...Object.fromEntries(next), step: stepNumber },
      collected: { losses: lossValue, gradientNorms: norm },
    };
  });
  const results = Object.entries(trained.state).map(([name, value]) => [`next.${name}`, value] as const);
  return graph({ ...Object.fromEntries(results), ...trained.collected });
}

const scalar = (name: keyof TrainingScalars): Value => input(name, 'float32', []);

const mapValues = <A, B>(
  record: Readonly<Record<string, A>>,
  map: (value: A, name: string) => B,
): Record<string, B> =>
  Object.fromEntries(Object.entries(record).map(([name, value]) => [name, map(value, name)]));

const inputs = (
  prefix: string,
  types: Readonly<Record<string, TensorType>>,
  reshaped: (shape: Shape) => Shape,
): Values => mapValues(types, ({ dtype, shape }, name) => input(`${prefix}.${name}`, dtype, reshaped(shape)));
