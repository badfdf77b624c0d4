/** A model that continues sequences on a runtime: its program, which holds the weights, and its cache's shape. */
import { rotationTables } from '../blocks/index.ts';
import type { WeightSource } from '../execution/index.ts';
import type { Architecture } from '../model/index.ts';
import type { Program, Runtime } from '../runtime/index.ts';
import type { Tensor } from '../tensor/index.ts';
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
import { quantise, quantisedName, type WeightFormat } from './quantised.ts';

export interface Decoder {
  readonly runtime: Runtime;
  readonly worker: number;
  readonly program: Program;
  readonly cache: readonly CachePort[];
  /** Element type of the cache. */
  readonly dtype: DecoderDType;
  /** Tokens a sequence can have, its prompt included. */
  readonly contextLength: number;
}

export interface OpenDecoderOptions {
  /** Default: the model's. */
  readonly contextLength?: number;
  /** How the matrices of products are held: fewer bytes to read a token. */
  readonly weights?: WeightFormat;
  readonly worker?: number;
}

/**
 * Loads a model to continue sequences; `closeDecoder` frees it.
 * @throws PuzzleError `cannot-express` naming the layer whose block no fused kernel computes; those of the source
 */
export async function openDecoder(
  source: WeightSource,
  runtime: Runtime,
  {
    contextLength = source.architecture.stream.contextLength,
    weights: format = 'f32',
    worker = 0,
  }: OpenDecoderOptions = {},
): Promise<Decoder> {
  const { architecture } = source;
  requireServing(architecture);
  const graph = decoderGraph(architecture, { dtype: 'float32', contextLength, weights: format });
  const weights: Record<string, Tensor> = {};
  const add = (name: string, tensor: Tensor<'float32'>): void => {
    if (format !== 'f32' && graph.inputs[quantisedName(name, 'blocks')] !== undefined) {
      const { blocks, scales } = quantise(tensor, format);
      weights[quantisedName(name, 'blocks')] = blocks;
      weights[quantisedName(name, 'scales')] = scales;
    }
    if (graph.inputs[name] !== undefined) weights[name] = tensor;
  };
  const streamNames = ['embedding', 'norm', 'head'] as const;
  for (const name of streamNames.filter((known) => known !== 'head' || !architecture.stream.tiedEmbeddings))
    add(streamWeightName(name), await source.streamWeight(name));
  for (const slot of architecture.slots.keys())
    for (const [name, tensor] of Object.entries(await source.blockWeights(slot)))
      add(blockWeightName(slot, name), tensor);
  for (const headDim of headWidths(architecture)) {
    const { cos, sin } = rotationTables(headDim, contextLength, architecture.stream);
    add(rotationName(headDim, 'cos'), cos);
    add(rotationName(headDim, 'sin'), sin);
  }
  const program = await runtime.load(graph, weights, worker);
  return { runtime, worker, program, cache: cachePorts(architecture), dtype: 'float32', contextLength };
}

export const closeDecoder = async ({ runtime, program }: Decoder): Promise<void> => runtime.unload(program);

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
