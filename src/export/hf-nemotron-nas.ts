/** `config.json` of model type `nemotron-nas`: the published form of a Puzzle search. */
import { widthOfMultiplier } from '../model/index.ts';
import { firstGqa, notLlama, type Dialect, type Json } from './hf-dialect.ts';
import { firstRefusal, isGqa, isSwiglu } from './layers.ts';

/**
 * The published form of such models (nvidia/Llama-3_3-Nemotron-Super-49B-v1): fields and their order are theirs. Where
 * no `ffn_mult` gives the width, `intermediate_size` stands in its place, which vLLM reads.
 */
export const nemotronNas: Dialect = {
  refuses(_, layers) {
    const first = firstGqa(layers);
    return firstRefusal(layers, (slot) => {
      const { block } = slot;
      if (block.kind === 'no-op' || block.kind === 'linear') return undefined;
      if (isGqa(block) && block.heads !== first!.heads) return 'it has as many query heads in every layer';
      return notLlama(slot, first);
    });
  },
  config({ stream }, layers, shared) {
    const { heads = 1, headDim = stream.hidden } = firstGqa(layers) ?? {};
    return {
      architectures: ['DeciLMForCausalLM'],
      model_type: 'nemotron-nas',
      auto_map: {
        AutoConfig: 'configuration_decilm.DeciLMConfig',
        AutoModelForCausalLM: 'modeling_decilm.DeciLMForCausalLM',
      },
      ...shared,
      intermediate_size: null,
      num_attention_heads: heads,
      num_key_value_heads: null,
      ...(headDim * heads !== stream.hidden && { head_dim: headDim }),
      block_configs: layers.map(({ attention, ffn }) => ({
        attention: {
          n_heads_in_group: isGqa(attention.block) ? attention.block.heads / attention.block.kvHeads : null,
          no_op: attention.block.kind === 'no-op',
          num_sink_tokens: null,
          replace_with_linear: attention.block.kind === 'linear',
          sparsify: null,
          unshifted_sink: false,
          use_prefill_window_in_sink_attention: false,
          window_length: null,
        },
        ffn: {
          ...(isSwiglu(ffn.block) ? widthField(ffn.block.width, stream.hidden) : { ffn_mult: null }),
          no_op: ffn.block.kind === 'no-op',
          replace_with_linear: ffn.block.kind === 'linear',
          sparsify: null,
        },
      })),
    };
  },
};

/** The roundest multiplier of a width, as published ones are: a whole or a half where one gives it, else the exact one. */
function widthField(width: number, hidden: number): Json {
  const exact = (3 * width) / (2 * hidden);
  const multiplier = [Math.floor(2 * exact) / 2, exact].find(
    (candidate) => candidate > 0 && widthOfMultiplier(candidate, hidden) === width,
  );
  return multiplier === undefined ? { intermediate_size: width } : { ffn_mult: multiplier };
}
