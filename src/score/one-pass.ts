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
  descend,
  namedInputs,
  placeBlock,
  releaseBlock,
  remember,
  weightFeeds,
  type DescentPass,
  type Execution,
  type PlacedBlock,
  type Windows,
} from '../execution/index.ts';
import { graph, input, mul, reduceSum, type Graph } from '../graph/index.ts';
import type { BlockConfig, StreamConfig, TokenWindows } from '../model/index.ts';
import type { Tensor } from '../tensor/tensor.ts';
import { silent, type ReportProgress } from '../util/progress.ts';

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

/** Goes back from the last slot to the first that is not finished and yields the projections of each that isn't. */
export async function* onePass(job: OnePassJob): AsyncGenerator<SlotProjections, void, void> {
  const { teacher, alternatives, text, seed, finished, report = silent } = job;
  const open = alternatives.map((_, slot) => slot).filter((slot) => !finished?.has(slot));
  if (open.length === 0) return;
  const stage = 'one-pass scores';
  const total = open.reduce((sum, slot) => sum + alternatives[slot]!.length, 0);
  report({ kind: 'stage-started', stage, total, unit: 'blocks' });
  let done = 0;
  for await (const { slot, passes } of descend(teacher, text, seed, open[0]!)) {
    if (finished?.has(slot)) continue;
    const tick = (config: BlockConfig): void => {
      done += 1;
      report({
        kind: 'advanced',
        stage,
        done,
        note: `slot ${slot}: ${blockOf(config).label(config)}`,
      });
    };
    yield { slot, projections: await projectSlot(job, slot, passes, tick) };
  }
  report({ kind: 'stage-finished', stage });
}

async function projectSlot(
  { teacher, alternatives, weights }: OnePassJob,
  slot: number,
  passes: readonly DescentPass[],
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
  passes: readonly DescentPass[],
): Promise<Float32Array> {
  const all = new Float32Array(passes.reduce((sum, { x }) => sum + x.shape[0]!, 0));
  let row = 0;
  for (const { windows, x, gradient } of passes) {
    const { along } = await runtime.run(
      projectionGraph(config, architecture.stream, windows),
      { x, gradient, ...weightFeeds(weights) },
      { worker },
    );
    all.set(along!.data as Float32Array, row);
    row += x.shape[0]!;
  }
  return all;
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
