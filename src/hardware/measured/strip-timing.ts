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
  const small: StreamConfig = { ...stream, vocabularySize: stripVocabulary, tiedEmbeddings: true };
  const stripBytes = Math.min(modelBytes, mostStripBytes);
  if (timed.part === 'head') return timeHead(timed.batch, stream, small, stripBytes, runtime);
  const { config, batch } = timed;
  const blockBytes = Math.max(1, bytesPerWeight * blockParameters(config, stream));
  const copies = Math.min(mostCopies, Math.max(2, Math.ceil(stripBytes / blockBytes)));
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

/** A model's blocks run between two uses of its head, so a strip of that size runs between two timings. */
async function timeHead(
  batch: number,
  stream: StreamConfig,
  small: StreamConfig,
  stripBytes: number,
  runtime: Runtime,
): Promise<Timing> {
  const width = Math.ceil(stripBytes / (3 * bytesPerWeight * stream.hidden)) + 1;
  const block = { kind: 'swiglu', width };
  const head = await openRandomDecoder({ stream, slots: [] }, batch, 1, runtime);
  const strip = await openRandomDecoder(
    { stream: small, slots: [{ layer: 0, kind: 'ffn', block }] },
    batch,
    1,
    runtime,
  );
  try {
    for (const decoder of [head, strip]) await decoder.pass(0, 1); // warms up
    return await repeated(async () => {
      await strip.pass(0, 1);
      return [await head.pass(0, 1), 0];
    }, 1);
  } finally {
    await head.close();
    await strip.close();
  }
}
