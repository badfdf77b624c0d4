/**
 * Times a part on the CPU within a decoder, as `puzzle generate` runs it: fused kernels, weights held by the session, the
 * KV cache written in place. A block is timed as the difference of two decoders that have many copies of it and one,
 * each copy with weights of its own: in a loop over one copy the processor's cache would hold what a model must read
 * from memory at every token.
 */
import { blockParameters } from '../../blocks/index.ts';
import type { StreamConfig } from '../../model/index.ts';
import type { Runtime } from '../../runtime/index.ts';
import { openRandomDecoder, type RandomDecoder } from './random-decoder.ts';
import { repeated, type Timed, type Timing } from './timed.ts';

/** Copies fill the caches of a processor several times over; a smaller model is timed at its own size. */
const mostStripBytes = 128 * 2 ** 20;
const mostCopies = 48;
/** Rows of the vocabulary of a strip: its head must not drown its blocks. */
const stripVocabulary = 32;
const bytesPerWeight = 4;

export async function timeInStrip(
  timed: Timed,
  stream: StreamConfig,
  modelBytes: number,
  runtime: Runtime,
): Promise<Timing> {
  if (timed.part === 'head') {
    const decoder = await openRandomDecoder({ stream, slots: [] }, timed.batch, 1, runtime);
    try {
      await decoder.pass(0, 1); // warms up
      return await repeated(async () => [await decoder.pass(0, 1), 0], 1);
    } finally {
      await decoder.close();
    }
  }
  const { config, batch } = timed;
  const small: StreamConfig = { ...stream, vocabularySize: stripVocabulary, tiedEmbeddings: true };
  const blockBytes = Math.max(1, bytesPerWeight * blockParameters(config, stream));
  const copies = Math.min(
    mostCopies,
    Math.max(2, Math.ceil(Math.min(modelBytes, mostStripBytes) / blockBytes)),
  );
  const [length, tokens] = timed.phase === 'prefill' ? [0, timed.tokens] : [timed.length, 1];
  const strip = (count: number): Promise<RandomDecoder> => {
    const kind = config.kind === 'gqa' ? 'attention' : 'ffn';
    const slots = Array.from({ length: count }, (_, layer) => ({ layer, kind, block: config }) as const);
    return openRandomDecoder({ stream: small, slots }, batch, length + tokens, runtime);
  };
  const one = await strip(1);
  const many = await strip(copies);
  try {
    for (const decoder of [one, many]) await decoder.pass(length, tokens); // warms up
    return await repeated(
      async () => [await many.pass(length, tokens), await one.pass(length, tokens)],
      copies - 1,
    );
  } finally {
    await one.close();
    await many.close();
  }
}
