/** A model that continues sequences on a runtime: its program, its resident weights, its cache's shape. */
import { rotationTables } from '../blocks/index.ts';
import type { Execution } from '../execution/index.ts';
import { remember } from '../execution/index.ts';
import type { Graph } from '../graph/index.ts';
import type { Architecture } from '../model/index.ts';
import type { Program, Resident, Runtime } from '../runtime/index.ts';
import { PuzzleError } from '../util/errors.ts';
import {
  blockWeightName,
  cachePorts,
  decoderGraph,
  refusesServing,
  rotationName,
  streamWeightName,
  type CachePort,
  type DecoderDType,
} from './decoder-graph.ts';

export interface Decoder {
  readonly runtime: Runtime;
  readonly worker: number;
  /** A graph that is fed weights, or an exported file that holds them. */
  readonly program: Graph | Program;
  /** What every run is fed besides tokens and cache. */
  readonly weights: Readonly<Record<string, Resident>>;
  readonly cache: readonly CachePort[];
  /** Element type of the cache. */
  readonly dtype: DecoderDType;
  /** Tokens a sequence can have, its prompt included. */
  readonly contextLength: number;
  /** Frees what `openDecoder` made; the model's weights stay its own. */
  close(): Promise<void>;
}

/**
 * Makes an opened model continue sequences; nothing is copied, so it must outlive the decoder.
 * @param contextLength tokens that sequences need; at most the model's
 * @throws PuzzleError `cannot-express` naming the layer whose block no fused kernel computes
 */
export async function openDecoder(model: Execution, contextLength: number): Promise<Decoder> {
  const { runtime, worker, architecture, stream, blocks } = model;
  requireServing(architecture);
  const program = remember(['decoder', architecture, contextLength], () =>
    decoderGraph(architecture, { dtype: 'float32', contextLength }),
  );
  const needed = Object.keys(program.inputs);
  const weights: Record<string, Resident> = {};
  for (const [name, resident] of Object.entries(stream))
    weights[streamWeightName(name as keyof typeof stream)] = resident;
  for (const [slot, block] of blocks.entries())
    for (const [name, resident] of Object.entries(block.weights))
      weights[blockWeightName(slot, name)] = resident;
  const tables: Resident[] = [];
  for (const headDim of headWidths(architecture)) {
    const rotation = rotationTables(headDim, contextLength, architecture.stream);
    for (const name of ['cos', 'sin'] as const) {
      const table = await runtime.upload(rotation[name], worker);
      tables.push(table);
      weights[rotationName(headDim, name)] = table;
    }
  }
  return {
    runtime,
    worker,
    program,
    weights: Object.fromEntries(Object.entries(weights).filter(([name]) => needed.includes(name))),
    cache: cachePorts(architecture),
    dtype: 'float32',
    contextLength,
    close: async () => runtime.release(...tables),
  };
}

/** Widths of the heads that are turned by position. */
export const headWidths = (architecture: Architecture): readonly number[] => [
  ...new Set(cachePorts(architecture).map(({ headDim }) => headDim)),
];

function requireServing(architecture: Architecture): void {
  const refusal = refusesServing(architecture);
  if (refusal === undefined) return;
  const { slot, reason } = refusal;
  throw new PuzzleError(
    'cannot-express',
    `The ${slot.kind} of layer ${slot.layer} cannot continue sequences: ${reason}.`,
    {
      at: `layer ${slot.layer}: ${slot.kind}`,
      value: slot.block,
      fix: 'Evaluate the model instead: puzzle evaluate.',
    },
  );
}
