/** A profile of what was timed on a machine for one workload: block by block, nothing fitted, nothing assumed. */
import { z } from 'zod';
import { blockKey, blockOf } from '../../blocks/index.ts';
import type { BlockConfig, StreamConfig } from '../../model/index.ts';
import { PuzzleError } from '../../util/errors.ts';
import { checkAgainst } from '../../util/json.ts';
import type { CostTable } from '../cost-table.ts';
import { scale, sum, type Quantity } from '../quantity.ts';
import { decodeSteps, prefillPlan, workloadSchema, type Workload } from '../workload.ts';
import { timedSchema } from './timed.ts';
import type { Timed, Timing } from './timed.ts';

export const measuredProfileSchemaName = 'puzzle/measured-profile@1';

const milliseconds = z.number().nonnegative();

const conditionsSchema = z.strictObject({
  clockMHz: z.number().positive().optional(),
  temperatureC: z.number().optional(),
  load: z.number().nonnegative(),
});

const measuredProfileSchema = z.strictObject({
  schema: z.literal(measuredProfileSchemaName),
  name: z.string(),
  device: z.strictObject({ kind: z.string(), description: z.string(), threads: z.int().positive() }),
  runtime: z.string(),
  /** Clock and temperature around the measurement, where the system tells. */
  conditions: z.strictObject({ before: conditionsSchema, after: conditionsSchema }),
  date: z.string(),
  /** What was timed holds for this workload, at these batches, and no other. */
  workload: workloadSchema,
  batches: z.array(z.int().positive()).min(1),
  /** Of the model whose blocks were timed. */
  stream: z.strictObject({ hidden: z.int().positive(), vocabularySize: z.int().positive() }),
  timings: z.array(
    z.strictObject({
      part: z.string(),
      timed: timedSchema,
      ms: milliseconds,
      lowMs: milliseconds,
      highMs: milliseconds,
      repeats: z.int().positive(),
      outliers: z.int().nonnegative(),
    }),
  ),
});

export type Conditions = z.output<typeof conditionsSchema>;
export type MeasuredProfile = z.output<typeof measuredProfileSchema>;

/** @throws PuzzleError `file-invalid` */
export const parseMeasuredProfile = (json: unknown, at: string): MeasuredProfile =>
  checkAgainst(measuredProfileSchema, json, at, 'Give a file that `puzzle profile` wrote.');

/** Name of a timed part within a profile: equal for equal work. */
export function partKey(timed: Timed, stream: StreamConfig): string {
  const { hidden, vocabularySize } = stream;
  if (timed.part === 'head') return `head ${vocabularySize}x${hidden} batch ${timed.batch}`;
  const what = `hidden ${hidden} ${blockKey(timed.config)} batch ${timed.batch}`;
  return timed.phase === 'prefill'
    ? `prefill ${what} tokens ${timed.tokens}`
    : `decode ${what} length ${timed.length}`;
}

/** How often a part runs in a workload. */
interface Share {
  readonly timed: Timed;
  readonly phase: 'prefill' | 'decode';
  readonly times: number;
}

/** Everything of a block that a workload's time consists of. */
export function blockShares(config: BlockConfig, w: Workload): readonly Share[] {
  const block = blockOf(config);
  if (block.output === undefined) return [];
  const { sequences, attentionPasses } = prefillPlan(w);
  const prefill: Share = {
    timed: { part: 'block', phase: 'prefill', config, batch: sequences, tokens: w.inputTokens },
    phase: 'prefill',
    times: attentionPasses,
  };
  // A block without a cache does the same at every length.
  const steps =
    block.servingCacheShape === undefined
      ? [{ length: w.inputTokens, steps: w.outputTokens }]
      : decodeSteps(w);
  return [
    prefill,
    ...steps
      .filter(({ steps }) => steps > 0)
      .map(({ length, steps }): Share => ({
        timed: { part: 'block', phase: 'decode', config, batch: w.batch, length },
        phase: 'decode',
        times: steps,
      })),
  ];
}

/** The head runs once per prefill pass and once per generated token. */
export const headShares = (w: Workload): readonly Share[] => [
  {
    timed: { part: 'head', batch: prefillPlan(w).sequences },
    phase: 'prefill',
    times: prefillPlan(w).attentionPasses,
  },
  { timed: { part: 'head', batch: w.batch }, phase: 'decode', times: w.outputTokens },
];

/**
 * A cost table with its times replaced by measured ones; bytes and parameters stay.
 * @throws PuzzleError `bad-usage` for another workload than the profile's, or a block that was not measured
 */
export function withMeasuredTimes(
  table: CostTable,
  alternatives: readonly (readonly BlockConfig[])[],
  stream: StreamConfig,
  workload: Workload,
  profile: MeasuredProfile,
): CostTable {
  requireSameWorkload(workload, profile);
  const timings = new Map(profile.timings.map((timing) => [timing.part, timing]));
  const timeOf = (shares: readonly Share[], phase: Share['phase']): Quantity =>
    sum(
      shares
        .filter((share) => share.phase === phase)
        .map(({ timed, times }) =>
          scale(measuredQuantity(timings.get(partKey(timed, stream)), timed, profile), times),
        ),
    );
  const timed = (shares: readonly Share[]): { prefillMs: Quantity; decodeMs: Quantity } => ({
    prefillMs: timeOf(shares, 'prefill'),
    decodeMs: timeOf(shares, 'decode'),
  });
  return {
    ...table,
    nonBlock: { ...table.nonBlock, ...timed(headShares(workload)) },
    alternatives: table.alternatives.map((costs, slot) =>
      costs.map((cost, index) => ({ ...cost, ...timed(blockShares(alternatives[slot]![index]!, workload)) })),
    ),
  };
}

function measuredQuantity(timing: Timing | undefined, timed: Timed, { name }: MeasuredProfile): Quantity {
  if (timing === undefined) {
    throw new PuzzleError('bad-usage', `The profile ${name} has no timing of this block.`, {
      at: '--hw',
      value: timed.part === 'block' ? timed.config : 'head',
      fix: 'Run `puzzle profile` with the same --model and --space.',
    });
  }
  return {
    value: timing.ms,
    source: 'measured',
    errorBand: { low: timing.lowMs, high: timing.highMs },
  };
}

function requireSameWorkload(given: Workload, { workload, batches, name }: MeasuredProfile): void {
  const differing = (['batch', 'inputTokens', 'outputTokens', 'weights', 'kv'] as const).find((field) =>
    field === 'batch' ? !batches.includes(given.batch) : given[field] !== workload[field],
  );
  if (differing === undefined) return;
  throw new PuzzleError(
    'bad-usage',
    `The profile ${name} was measured with ${differing} ${differing === 'batch' ? batches.join(', ') : workload[differing]}.`,
    {
      at: `workload: ${differing}`,
      value: given[differing],
      fix: 'Search with the workload of the profile, or measure again with `puzzle profile`.',
    },
  );
}
