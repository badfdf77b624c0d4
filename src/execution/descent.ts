/**
 * The way back through a teacher over a text: from a random square root of the Fisher matrix at the head, slot by slot,
 * to the gradient at every place of the stream.
 */
import type { TokenWindows } from '../model/tokens.ts';
import type { Resident } from '../runtime/index.ts';
import { byteSize } from '../tensor/tensor.ts';
import { seededRandom } from '../util/random.ts';
import { backward, fisherRoot } from './backward.ts';
import type { Execution } from './execution.ts';
import { embed, forward, runBlock, type Windows } from './stream.ts';

/** Windows that run together, at one slot. */
export interface DescentPass {
  readonly windows: Windows;
  /** The stream before the slot: (batch * tokens, hidden). */
  readonly x: Resident;
  /** The gradient at the stream after the slot: (batch * tokens, hidden). */
  readonly gradient: Resident;
}

export interface Descent {
  readonly slot: number;
  /** Of the whole text, in its order; released when the next slot is asked for. */
  readonly passes: readonly DescentPass[];
}

/** Rows of one pass: products run at full speed, logits stay small. */
const passRows = 2048;

/** The stream before every slot is kept for the way back up to this size; beyond, runs of slots are run again. */
const streamBytes = 2 ** 30;

interface Pass {
  readonly windows: Windows;
  /** The stream before the first slot of every run of slots. */
  readonly starts: readonly Resident[];
  /** At the stream after the slot at hand. */
  gradient: Resident;
}

/**
 * Yields every slot from the last down to `lowest`. The draws depend on text and seed alone.
 * @param lowest the slot to end with
 */
export async function* descend(
  teacher: Execution,
  text: TokenWindows,
  seed: number,
  lowest = 0,
): AsyncGenerator<Descent, void, void> {
  const run = runLength(teacher, text);
  const passes = await openPasses(teacher, text, seed, run);
  const held: Resident[] = [];
  try {
    for (let start = lastRun(teacher, run); start >= 0 && start + run > lowest; start -= run) {
      const end = Math.min(teacher.blocks.length, start + run);
      const streams = await streamsOf(teacher, passes, start / run, start, end);
      held.push(...streams.flatMap((of) => of.slice(1)));
      for (let slot = end - 1; slot >= Math.max(start, lowest); slot--) {
        const at = passes.map(({ windows, gradient }, i) => ({
          windows,
          gradient,
          x: streams[i]![slot - start]!,
        }));
        yield { slot, passes: at };
        for (const [i, pass] of passes.entries()) {
          const { windows, gradient, x } = at[i]!;
          pass.gradient = await backward(teacher, teacher.blocks[slot]!, x, windows, gradient);
          if (pass.gradient !== gradient) await teacher.runtime.release(gradient);
        }
      }
      await teacher.runtime.release(...held.splice(0));
    }
  } finally {
    await teacher.runtime.release(
      ...held,
      ...passes.flatMap(({ starts, gradient }) => [...starts, gradient]),
    );
  }
}

/** Slots between two kept streams: 1 where all of them fit, else the square root, which keeps the fewest. */
function runLength({ blocks, architecture }: Execution, { window, count }: TokenWindows): number {
  const stream = { dtype: 'float32', shape: [window * count, architecture.stream.hidden] } as const;
  const bytes = blocks.length * byteSize(stream);
  return bytes <= streamBytes ? 1 : Math.ceil(Math.sqrt(blocks.length));
}

const lastRun = ({ blocks }: Execution, run: number): number => Math.floor((blocks.length - 1) / run) * run;

async function openPasses(
  teacher: Execution,
  { ids, window, count }: TokenWindows,
  seed: number,
  run: number,
): Promise<readonly Pass[]> {
  const batch = Math.max(1, Math.floor(passRows / window));
  const random = seededRandom(seed);
  const passes: Pass[] = [];
  for (let first = 0; first < count; first += batch) {
    const windows = { batch: Math.min(batch, count - first), tokens: window };
    const starts = [
      await embed(teacher, ids.slice(first * window, (first + windows.batch) * window), windows),
    ];
    for (let slot = run; slot < teacher.blocks.length; slot += run)
      starts.push(await forwardOwned(teacher, starts.at(-1)!, windows, slot - run, slot));
    const last = await forwardOwned(
      teacher,
      starts.at(-1)!,
      windows,
      lastRun(teacher, run),
      teacher.blocks.length,
    );
    passes.push({ windows, starts, gradient: await fisherRoot(teacher, last, random) });
    await teacher.runtime.release(last);
  }
  return passes;
}

/** The stream before every slot of a run: the first is the pass's own. */
async function streamsOf(
  teacher: Execution,
  passes: readonly Pass[],
  run: number,
  start: number,
  end: number,
): Promise<readonly (readonly Resident[])[]> {
  const streams: Resident[][] = [];
  for (const { windows, starts } of passes) {
    const own = [starts[run]!];
    for (let slot = start; slot < end - 1; slot++)
      own.push(await forwardOwned(teacher, own.at(-1)!, windows, slot, slot + 1));
    streams.push(own);
  }
  return streams;
}

/** `forward`, but always a resident of its own. */
async function forwardOwned(
  teacher: Execution,
  x: Resident,
  windows: Windows,
  from: number,
  to: number,
): Promise<Resident> {
  const after = await forward(teacher, x, windows, { from, to });
  if (after !== x) return after;
  return (await runBlock(teacher, { config: { kind: 'no-op' }, weights: {} }, x, windows, ['stream'])).stream;
}
