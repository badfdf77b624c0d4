/**
 * One-pass scores: one forward and one backward pass through the teacher judge every block of the library, however
 * many there are. To second order KL(teacher || student) = 1/2 delta^T F delta for a change delta of the stream and the
 * Fisher matrix F of the teacher's predictions (Amari 1998); with a random g of covariance F carried back to every slot,
 *
 *     score(c) = 1/2 mean_t (g_t . delta_t(c))^2,   delta_t(c) = block_c(x_t) - teacher_block(x_t),
 *
 * positions taken apart: the products between positions have mean zero and would only add noise. What a block adds
 * along g is kept per token, so the damage of blocks together, 1/2 mean_t (sum_c g_t . delta_t(c))^2, costs nothing more.
 */
import { blockForward, blockKey, blockOf, sameBlock, type Weights } from '../blocks/index.ts';
import {
  backward,
  embed,
  fisherRoot,
  forward,
  namedInputs,
  placeBlock,
  releaseBlock,
  remember,
  runBlock,
  weightFeeds,
  type Execution,
  type PlacedBlock,
  type Windows,
} from '../execution/index.ts';
import { graph, input, mul, reduceSum, type Graph } from '../graph/index.ts';
import type { BlockConfig, StreamConfig, TokenWindows } from '../model/index.ts';
import type { Resident } from '../runtime/index.ts';
import type { Tensor } from '../tensor/tensor.ts';
import { silent, type ReportProgress } from '../util/progress.ts';
import { seededRandom } from '../util/random.ts';

export interface OnePassJob {
  readonly teacher: Execution;
  /** Per slot. */
  readonly alternatives: readonly (readonly BlockConfig[])[];
  /** Weights of the alternatives; asked for neither the teacher's own block nor one without weights. */
  readonly weights: (slot: number, config: BlockConfig) => Promise<Weights<Tensor<'float32'>>>;
  /** Text that took part in no fit. */
  readonly text: TokenWindows;
  readonly seed: number;
  /** Slots whose projections are there already. */
  readonly finished?: ReadonlySet<number>;
  readonly report?: ReportProgress;
}

/** What every alternative of a slot adds along the Fisher root: g_t . delta_t, per token of the text. */
export interface SlotProjections {
  readonly slot: number;
  /** In the order of the alternatives; zero for the teacher's own block. */
  readonly projections: readonly Float32Array[];
}

/** Rows of one pass: products run at full speed, logits stay small. */
const passRows = 2048;

/** The stream before every slot is kept for the way back up to this size; beyond, runs of slots are run again. */
const streamBytes = 2 ** 30;

interface Pass {
  readonly windows: Windows;
  /** The stream before the first slot of every run of slots. */
  readonly starts: readonly Resident[];
  /** The Fisher root at the stream after the slot at hand. */
  gradient: Resident;
}

/** Goes back from the last slot to the first that is not finished and yields the projections of each that isn't. */
export async function* onePass(job: OnePassJob): AsyncGenerator<SlotProjections, void, void> {
  const { teacher, alternatives, finished, report = silent } = job;
  const open = alternatives.map((_, slot) => slot).filter((slot) => !finished?.has(slot));
  if (open.length === 0) return;
  const stage = 'one-pass scores';
  const total = open.reduce((sum, slot) => sum + alternatives[slot]!.length, 0);
  report({ kind: 'stage-started', stage, total, unit: 'blocks' });
  const run = runLength(teacher, job.text);
  const passes = await openPasses(job, run);
  const held: Resident[] = [];
  let done = 0;
  try {
    for (let start = lastRun(teacher, run); start >= 0 && start + run > open[0]!; start -= run) {
      const end = Math.min(teacher.blocks.length, start + run);
      const streams = await streamsOf(teacher, passes, start / run, start, end);
      held.push(...streams.flatMap((of) => of.slice(1)));
      for (let slot = end - 1; slot >= Math.max(start, open[0]!); slot--) {
        const at = passes.map(({ windows, gradient }, i) => ({
          windows,
          gradient,
          x: streams[i]![slot - start]!,
        }));
        if (!finished?.has(slot)) {
          const tick = (config: BlockConfig): void => {
            done += 1;
            const note = `slot ${slot}: ${blockOf(config).label(config, teacher.blocks[slot]!.config)}`;
            report({ kind: 'advanced', stage, done, note });
          };
          yield { slot, projections: await projectSlot(job, slot, at, tick) };
        }
        for (const [i, pass] of passes.entries()) {
          const { windows, gradient, x } = at[i]!;
          pass.gradient = await backward(teacher, teacher.blocks[slot]!, x, windows, gradient);
          if (pass.gradient !== gradient) await teacher.runtime.release(gradient);
        }
      }
      await teacher.runtime.release(...held.splice(0));
    }
    report({ kind: 'stage-finished', stage });
  } finally {
    await teacher.runtime.release(
      ...held,
      ...passes.flatMap(({ starts, gradient }) => [...starts, gradient]),
    );
  }
}

/** Slots between two kept streams: 1 where all of them fit, else the square root, which keeps the fewest. */
function runLength({ blocks, architecture }: Execution, { window, count }: TokenWindows): number {
  const bytes = blocks.length * window * count * architecture.stream.hidden * Float32Array.BYTES_PER_ELEMENT;
  return bytes <= streamBytes ? 1 : Math.ceil(Math.sqrt(blocks.length));
}

const lastRun = ({ blocks }: Execution, run: number): number => Math.floor((blocks.length - 1) / run) * run;

async function openPasses(
  { teacher, text: { ids, window, count }, seed }: OnePassJob,
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

interface PlacedPass {
  readonly windows: Windows;
  readonly x: Resident;
  readonly gradient: Resident;
}

async function projectSlot(
  { teacher, alternatives, weights }: OnePassJob,
  slot: number,
  passes: readonly PlacedPass[],
  tick: (config: BlockConfig) => void,
): Promise<readonly Float32Array[]> {
  const own = teacher.blocks[slot]!;
  const base = await alongGradient(teacher, own, passes);
  const projections: Float32Array[] = [];
  for (const config of alternatives[slot]!) {
    if (sameBlock(config, own.config)) projections.push(new Float32Array(base.length));
    else if (blockOf(config).output === undefined) projections.push(base.map((value) => -value));
    else {
      const block = await placeBlock(teacher, config, await weights(slot, config));
      try {
        const along = await alongGradient(teacher, block, passes);
        projections.push(along.map((value, token) => value - base[token]!));
      } finally {
        await releaseBlock(teacher, block);
      }
    }
    tick(config);
  }
  return projections;
}

/** g_t . block(x_t), token after token of all passes. */
async function alongGradient(
  { runtime, worker, architecture }: Execution,
  { config, weights }: PlacedBlock,
  passes: readonly PlacedPass[],
): Promise<Float32Array> {
  const parts: Float32Array[] = [];
  for (const { windows, x, gradient } of passes) {
    const { along } = await runtime.run(
      projectionGraph(config, architecture.stream, windows),
      { x, gradient, ...weightFeeds(weights) },
      { worker },
    );
    parts.push(along!.data as Float32Array);
  }
  return Float32Array.from(parts.flatMap((part) => [...part]));
}

const projectionGraph = (config: BlockConfig, stream: StreamConfig, { batch, tokens }: Windows): Graph =>
  remember(['projection', blockKey(config), stream, batch, tokens], () => {
    const { x, weights } = namedInputs(config, stream, batch * tokens);
    const along = input('gradient', 'float32', [batch * tokens, stream.hidden]);
    const { delta } = blockForward(x, weights, { config, stream, batch, tokens });
    return graph({ along: reduceSum(mul(delta!, along), { axes: [1] }) });
  });

/** KL that projections predict, nats: one value per window of `window` tokens. */
export function quadraticDamage(projection: Float32Array, window: number): number[] {
  return Array.from({ length: projection.length / window }, (_, index) => {
    let sum = 0;
    for (let t = index * window; t < (index + 1) * window; t++) sum += projection[t]! ** 2;
    return sum / 2 / window;
  });
}
