/** `config.json` of a Llama with transformers' `per_layer_config`. */
import { firstGqa, notLlama, type Dialect, type Json } from './hf-dialect.ts';
import { firstRefusal, isGqa, isSwiglu, type Layer } from './layers.ts';

/** A Llama of recent transformers some of whose layers differ, or lack a part. */
export const perLayerConfig: Dialect = {
  refuses(_, layers) {
    const first = firstGqa(layers);
    if (first === undefined) return { slot: layers[0]!.attention, reason: 'no layer has attention' };
    if (!layers.some(({ ffn }) => isSwiglu(ffn.block)))
      return { slot: layers[0]!.ffn, reason: 'no layer has an FFN' };
    return firstRefusal(layers, (slot) => (slot.block.kind === 'no-op' ? undefined : notLlama(slot, first)));
  },
  config(_, layers, shared) {
    const attentions = layers.map(({ attention }) => attention.block).filter(isGqa);
    const base = {
      intermediate_size: commonest(
        layers
          .map(({ ffn }) => ffn.block)
          .filter(isSwiglu)
          .map(({ width }) => width),
      ),
      num_attention_heads: commonest(attentions.map(({ heads }) => heads)),
      num_key_value_heads: commonest(attentions.map(({ kvHeads }) => kvHeads)),
    };
    const digits = String(layers.length - 1).length;
    const own = layers.map((layer) =>
      Object.entries(fieldsOf(layer)).filter(([field, value]) => value !== base[field as never]),
    );
    return {
      architectures: ['LlamaForCausalLM'],
      model_type: 'llama',
      ...shared,
      ...base,
      head_dim: attentions[0]!.headDim,
      per_layer_config: Object.fromEntries(
        own.flatMap((fields, layer) =>
          fields.length === 0 ? [] : [[String(layer).padStart(digits, '0'), Object.fromEntries(fields)]],
        ),
      ),
    };
  },
};

function fieldsOf({ attention, ffn }: Layer): Json {
  const skip = [
    ...(attention.block.kind === 'no-op' ? ['attention'] : []),
    ...(ffn.block.kind === 'no-op' ? ['mlp'] : []),
  ];
  return {
    ...(isSwiglu(ffn.block) && { intermediate_size: ffn.block.width }),
    ...(isGqa(attention.block) && {
      num_attention_heads: attention.block.heads,
      num_key_value_heads: attention.block.kvHeads,
    }),
    ...(skip.length > 0 && { skip }),
  };
}

/** The value that occurs most; the first of equals. */
function commonest(values: readonly number[]): number {
  const counts = new Map<number, number>();
  for (const value of values) counts.set(value, (counts.get(value) ?? 0) + 1);
  return [...counts].reduce((best, entry) => (entry[1] > best[1] ? entry : best))[0];
}
