/** Nothing: the residual stream passes unchanged. */
import { z } from 'zod';
import type { Block } from './block.ts';

export const noOpSchema = z.strictObject({ kind: z.literal('no-op') });
type NoOpConfig = z.infer<typeof noOpSchema>;

export const noOp: Block<NoOpConfig> = {
  kind: 'no-op',
  slots: ['attention', 'ffn'],
  schema: noOpSchema,
  label: () => 'no-op',
  weights: () => ({}),
  features: () => undefined,
  refuses: () => undefined,
  initialise: () => ({}),
  kvElementsPerToken: () => 0,
  operators: () => [],
};
