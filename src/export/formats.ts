/** Every format there is. A new one is a file and a line here. */
import type { Exporter } from './exporter.ts';
import { gguf } from './gguf.ts';
import { huggingFace } from './hugging-face.ts';

export const formats = {
  hf: huggingFace,
  gguf,
} as const satisfies Record<string, Exporter>;

export type ExportFormat = keyof typeof formats;
