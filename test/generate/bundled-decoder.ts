/** The bundled teacher as a decoder, open for the tests of a file; a resident that they leave behind fails them. */
import { afterAll, beforeAll, expect } from 'vitest';
import { checkpointSource } from '../../src/execution/index.ts';
import { openDecoder, type Decoder } from '../../src/generate/index.ts';
import { openModel, type Checkpoint } from '../../src/model/index.ts';
import { openRuntime } from '../../src/runtime/index.ts';

export interface BundledDecoder {
  readonly checkpoint: Checkpoint;
  readonly decoder: Decoder;
}

/** Filled before the first test. */
export function bundledDecoder(): BundledDecoder {
  const opened = {} as { checkpoint: Checkpoint; decoder: Decoder };
  beforeAll(async () => {
    const runtime = await openRuntime({ device: 'cpu', threads: 1 });
    opened.checkpoint = await openModel('models/moby-2m');
    opened.decoder = await openDecoder(checkpointSource(opened.checkpoint), runtime);
  });
  afterAll(async () => {
    const { runtime } = opened.decoder;
    expect(runtime.residents).toBe(0);
    await runtime.close();
    await opened.checkpoint.close();
  });
  return opened;
}
