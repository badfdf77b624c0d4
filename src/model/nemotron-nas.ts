/** `config.json` of model type `nemotron-nas` (the published form of a Puzzle search) -> architecture. */
import { z } from 'zod';
import { checkAgainst, parseJson } from '../util/json.ts';
import { PuzzleError } from '../util/errors.ts';
import type { Architecture, BlockConfig } from './architecture.ts';

const count = z.int().positive();
const positive = z.number().positive();

/** Loose: the file carries fields that concern training or generation; those that change the block are refused below. */
const blockSchema = z.looseObject({
  attention: z.looseObject({
    n_heads_in_group: count.nullish(),
    no_op: z.boolean().nullish(),
    replace_with_linear: z.boolean().nullish(),
    window_length: count.nullish(),
    num_sink_tokens: count.nullish(),
  }),
  ffn: z.looseObject({
    ffn_mult: positive.nullish(),
    /** In place of `ffn_mult` for widths that it cannot give; vLLM reads it. */
    intermediate_size: count.nullish(),
    no_op: z.boolean().nullish(),
    replace_with_linear: z.boolean().nullish(),
  }),
});

const configSchema = z.looseObject({
  model_type: z.literal('nemotron-nas'),
  vocab_size: count,
  hidden_size: count,
  num_attention_heads: count,
  head_dim: count.nullish(),
  rms_norm_eps: positive,
  rope_theta: positive,
  rope_scaling: z
    .looseObject({
      factor: positive,
      low_freq_factor: positive,
      high_freq_factor: positive,
      original_max_position_embeddings: count,
    })
    .nullish(),
  tie_word_embeddings: z.boolean(),
  max_position_embeddings: count,
  block_configs: z.array(blockSchema).min(1),
});

/** FFN width of a multiplier: ceil256(int(2 * ffn_mult * hidden / 3)). */
export const widthOfMultiplier = (ffnMult: number, hidden: number): number =>
  Math.ceil(Math.trunc((2 * ffnMult * hidden) / 3) / 256) * 256;

/**
 * Layers may lack attention, an FFN or both; what they have may be one matrix.
 * @throws PuzzleError `file-invalid` naming the field of `path` at fault.
 */
export function parseNemotronNasConfig(text: string, path: string): Architecture {
  const config = checkAgainst(configSchema, parseJson(text, path), path, 'Download the file again.');
  const { hidden_size: hidden, num_attention_heads: heads, rope_scaling: rope } = config;
  const fail = (layer: number, part: string, value: unknown, fix: string): never => {
    const at = `${path}: block_configs: ${layer}: ${part}`;
    throw new PuzzleError('file-invalid', `${at} does not describe a block.`, { at, value, fix });
  };
  const headDim = config.head_dim ?? hidden / heads;
  if (!Number.isInteger(headDim)) fail(0, 'num_attention_heads', heads, 'Give head_dim.');
  return {
    stream: {
      family: 'llama',
      vocabularySize: config.vocab_size,
      hidden,
      normEpsilon: config.rms_norm_eps,
      ropeTheta: config.rope_theta,
      ...(rope && {
        ropeScaling: {
          factor: rope.factor,
          lowFrequencyFactor: rope.low_freq_factor,
          highFrequencyFactor: rope.high_freq_factor,
          originalContextLength: rope.original_max_position_embeddings,
        },
      }),
      tiedEmbeddings: config.tie_word_embeddings,
      contextLength: config.max_position_embeddings,
    },
    slots: config.block_configs.flatMap(({ attention, ffn }, layer) => {
      const group = attention.n_heads_in_group;
      const attentionBlock = (): BlockConfig => {
        if (typeof group !== 'number' || heads % group !== 0) {
          return fail(layer, 'attention', group, `Give n_heads_in_group, a divisor of ${heads}.`);
        }
        if (attention.num_sink_tokens)
          return fail(layer, 'attention', attention.num_sink_tokens, 'Use a model without sink tokens.');
        return {
          kind: 'gqa',
          heads,
          kvHeads: heads / group,
          headDim,
          ...(typeof attention.window_length === 'number' && { window: attention.window_length }),
        };
      };
      const ffnBlock = (): BlockConfig => {
        if (typeof ffn.ffn_mult === 'number')
          return { kind: 'swiglu', width: widthOfMultiplier(ffn.ffn_mult, hidden) };
        if (typeof ffn.intermediate_size === 'number')
          return { kind: 'swiglu', width: ffn.intermediate_size };
        return fail(layer, 'ffn', ffn.ffn_mult, 'Give ffn_mult.');
      };
      const blockOf = (
        flags: { no_op?: boolean | null | undefined; replace_with_linear?: boolean | null | undefined },
        own: () => BlockConfig,
      ): BlockConfig =>
        flags.no_op ? { kind: 'no-op' } : flags.replace_with_linear ? { kind: 'linear' } : own();
      return [
        { layer, kind: 'attention', block: blockOf(attention, attentionBlock) },
        { layer, kind: 'ffn', block: blockOf(ffn, ffnBlock) },
      ] as const;
    }),
  };
}
