/** transformers' `per_layer_config`: what single layers of a Hugging Face model have differently from its config. */
import { z } from 'zod';
import { checkAgainst } from '../util/json.ts';
import type { Architecture, BlockConfig, Slot } from './architecture.ts';

const count = z.int().positive();

const schema = z.record(
  z.string().regex(/^\d+$/),
  z.strictObject({
    intermediate_size: count.exactOptional(),
    num_key_value_heads: count.exactOptional(),
    num_attention_heads: count.exactOptional(),
    head_dim: count.exactOptional(),
    skip: z.array(z.enum(['attention', 'mlp'])).exactOptional(),
  }),
);
type LayerConfig = z.infer<typeof schema>[string];

/**
 * The architecture with the overrides of config.json's `per_layer_config`, where it has one.
 * @throws PuzzleError `file-invalid` naming the field of `path` at fault
 */
export function withPerLayerConfig(config: unknown, uniform: Architecture, path: string): Architecture {
  const value = (config as { readonly per_layer_config?: unknown } | null)?.per_layer_config ?? undefined;
  if (value === undefined) return uniform;
  const fix = 'Use fields and layers that the model has.';
  const overrides = checkAgainst(schema, value, `${path}: per_layer_config`, fix);
  // transformers pads layer numbers with zeros so that they sort.
  const byLayer = new Map(Object.entries(overrides).map(([layer, own]) => [Number(layer), own]));
  return {
    ...uniform,
    slots: uniform.slots.map((slot) => {
      const own = byLayer.get(slot.layer);
      return own === undefined ? slot : { ...slot, block: overridden(slot, own) };
    }),
  };
}

function overridden({ kind, block }: Slot, own: LayerConfig): BlockConfig {
  if (own.skip?.includes(kind === 'ffn' ? 'mlp' : 'attention') === true) return { kind: 'no-op' };
  const fields =
    kind === 'ffn'
      ? { width: own.intermediate_size }
      : { kvHeads: own.num_key_value_heads, heads: own.num_attention_heads, headDim: own.head_dim };
  const given = Object.entries(fields).filter((entry): entry is [string, number] => entry[1] !== undefined);
  return { ...block, ...Object.fromEntries(given) };
}
