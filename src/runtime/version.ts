/** The version of ONNX Runtime that runs our graphs: part of what a timing depends on. */
import { createRequire } from 'node:module';
import { z } from 'zod';

const manifest = z.looseObject({ version: z.string() });

export const runtimeVersion = manifest.parse(
  createRequire(import.meta.url)('onnxruntime-node/package.json'),
).version;
