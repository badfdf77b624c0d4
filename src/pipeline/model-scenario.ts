/** From a teacher's alternatives, their damages and their costs to the scenario that a search is asked about. */
import { blockOf } from '../blocks/index.ts';
import {
  latencyMs,
  throughputTokensPerSecond,
  type Cost,
  type CostTable,
  type Workload,
} from '../hardware/index.ts';
import type { Architecture, BlockConfig } from '../model/architecture.ts';
import { tagsOf, type Blocks, type Measure, type Scenario } from '../search/index.ts';
import type { Damages } from './damages.ts';

export interface ModelScenarioInput {
  readonly architecture: Architecture;
  /** Per slot, the alternatives, the teacher's own block among them. */
  readonly alternatives: readonly (readonly BlockConfig[])[];
  /** Position of the teacher's own block, per slot. */
  readonly teacher: readonly number[];
  /** Per slot and alternative. */
  readonly damages: Damages;
  /** What a damage is, for people: `kl`. */
  readonly metric: string;
  readonly costs: CostTable;
  readonly workload: Workload;
}

const resourceNames = ['memory', 'latency', 'parameters'] as const;

/**
 * One group per slot: costs of attention and FFN add, so they are chosen apart.
 * Memory in bytes (weights, KV cache of the whole batch, activations, reserve), latency in ms of one batch's request,
 * parameters in pieces; throughput is the batch's generated tokens over that latency (arXiv 2411.19146, eq. 2).
 */
export function modelScenario(input: ModelScenarioInput): Scenario {
  const { architecture, alternatives, teacher, damages, metric, costs, workload } = input;
  const { nonBlock, activationBytes, reserveBytes } = costs;
  const fixed = usesOf(nonBlock);
  fixed[0]! += activationBytes + reserveBytes;
  const labels = alternatives.map((group, slot) =>
    group.map((config): Blocks => {
      const { kind, block } = architecture.slots[slot]!;
      return { [kind]: blockOf(config).label(config, block) };
    }),
  );
  return {
    problem: {
      groups: architecture.slots.map(({ layer, kind }, slot) => ({
        name: `layer ${layer} ${kind}`,
        layer,
        alternatives: alternatives[slot]!.map((_, position) => ({
          name: labels[slot]![position]![kind]!,
          score: damages[slot]![position]!.mean,
          uses: usesOf(costs.alternatives[slot]![position]!),
          tags: tagsOf(labels[slot]![position]!),
        })),
      })),
      resources: resourceNames.map((name, r) => ({ name, fixed: fixed[r]! })),
      objective: { sense: 'minimise', metric },
      constraints: [],
    },
    measures: measuresOf(workload),
    blocks: labels,
    teacher,
    teacherChosenBy: "the teacher's own blocks",
    samples: damages.map((group) => group.map(({ samples }) => samples)),
  };
}

const usesOf = (cost: Cost): number[] => [cost.weightBytes + cost.kvBytes, latencyMs(cost), cost.parameters];

function measuresOf(workload: Workload): readonly Measure[] {
  return [
    { name: 'memory', quantity: 'bytes', resource: 0 },
    { name: 'latency', quantity: 'duration', resource: 1 },
    // A batch that takes one second yields its tokens per second: the rate's numerator.
    { name: 'throughput', quantity: 'rate', resource: 1, tokens: throughputTokensPerSecond(workload, 1000) },
    { name: 'parameters', quantity: 'count', resource: 2 },
  ];
}
