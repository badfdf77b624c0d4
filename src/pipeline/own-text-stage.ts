/** The teacher's own text as a stage: sampled batch by batch, one stored job each, so that asking for more only adds. */
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { closeDecoder, openDecoder, ownText, type Decoder } from '../generate/index.ts';
import { openRuntime } from '../runtime/index.ts';
import type { ReportProgress } from '../util/progress.ts';
import type { JobDescription, Store } from './store.ts';
import type { Teacher } from './teacher.ts';
import type { OwnTexts, ownTokens } from './texts.ts';

/** Raised when the same seed gives another text. */
const version = 1;

/** Sequences of a batch. */
const batchSequences = 32;

export interface OwnTextInput {
  readonly teacher: Teacher;
  /** Tokens of a window; sequences have two, so that half of the windows begin in the middle of a text. */
  readonly window: number;
}

const file = 'text.txt';
const stage = 'own text';

/**
 * A text per purpose, of at least so many tokens: batches are sampled whole, where the store lacks them. Texts for
 * different purposes have no sequence in common. The model is open only meanwhile.
 * @throws PuzzleError `cannot-express` where the model holds a block that no fused kernel computes
 */
export async function ownTextStage(
  { teacher, window }: OwnTextInput,
  wanted: ReturnType<typeof ownTokens>,
  store: Store,
  report: ReportProgress,
): Promise<OwnTexts> {
  const { contextLength } = teacher.checkpoint.architecture.stream;
  const tokens = Math.min(2 * window, contextLength);
  const tokenizer = await teacher.checkpoint.tokenizer();
  const job = (seed: number): JobDescription => ({
    stage: 'own-text',
    version,
    inputs: {
      teacher: teacher.checkpoint.identity,
      sequences: batchSequences,
      tokens,
      seed,
      device: teacher.runtimeOptions.device,
    },
  });
  const texts = (Object.keys(wanted) as Purpose[]).map((purpose) => ({
    purpose,
    seeds: Array.from(
      { length: Math.ceil(wanted[purpose]! / (batchSequences * tokens)) },
      (_, batch) => firstSeeds[purpose] + batch,
    ),
  }));
  const all = texts.flatMap(({ seeds }) => seeds);
  const found = await Promise.all(all.map((seed) => store.find(job(seed))));
  const missing = all.filter((_, index) => found[index] === undefined);
  if (missing.length > 0) {
    report({ kind: 'stage-started', stage, total: missing.length * tokens, unit: 'steps' });
    await withDecoder(teacher, tokens, async (decoder) => {
      for (const [index, seed] of missing.entries())
        await store.run(job(seed), async (folder) => {
          const batch = await ownText(decoder, {
            count: batchSequences,
            tokens,
            vocabularySize: tokenizer.vocabularySize,
            seed,
            onToken: (done) => report({ kind: 'advanced', stage, done: index * tokens + done }),
          });
          await writeFile(join(folder, file), batch.map((ids) => tokenizer.decode(ids)).join(textBreak));
        });
    });
    report({ kind: 'stage-finished', stage });
  }
  const textOf = async (seeds: readonly number[]): Promise<string> => {
    const batches = seeds.map(async (seed) =>
      readFile(join((await store.find(job(seed)))!.folder, file), 'utf8'),
    );
    return (await Promise.all(batches)).join(textBreak);
  };
  return Object.fromEntries(
    await Promise.all(texts.map(async ({ purpose, seeds }) => [purpose, await textOf(seeds)] as const)),
  );
}

type Purpose = keyof OwnTexts;

/** The first seed of each; no text has a million batches. */
const firstSeeds: Readonly<Record<Purpose, number>> = {
  distil: 0,
  score: 1_000_000,
  evaluation: 2_000_000,
};

/** Between texts of no connection. */
const textBreak = '\n\n\n';

async function withDecoder(
  { source, runtimeOptions }: Teacher,
  contextLength: number,
  use: (decoder: Decoder) => Promise<void>,
): Promise<void> {
  const runtime = await openRuntime(runtimeOptions);
  try {
    const decoder = await openDecoder(source, runtime, { contextLength });
    await use(decoder);
    await closeDecoder(decoder);
  } finally {
    await runtime.close();
  }
}
