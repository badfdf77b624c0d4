/** Every format there is. A new one is a file and a line here. */
import type { Exporter } from './exporter.ts';
import { gguf } from './gguf.ts';
import { huggingFace } from './hugging-face.ts';
import { onnx } from './onnx.ts';

export const formats = {
  hf: huggingFace,
  gguf,
  onnx,
} as const satisfies Record<string, Exporter>;

export type ExportFormat = keyof typeof formats;
