/**
 * Replace-one-block scores (arXiv 2411.19146, sec. 4.2): one block replaced, all else unchanged, how far do the
 * predictions move? In the teacher, as the paper does it, or in a student: what the block would do there. What comes
 * before the block is run once for all its alternatives.
 */
import { blockOf, sameBlock, type Weights } from '../blocks/index.ts';
import {
  embed,
  forward,
  judge,
  placeBlock,
  releaseBlock,
  runBlock,
  type Execution,
  type Judgement,
  type PlacedBlock,
} from '../execution/index.ts';
import type { BlockConfig, TokenWindows } from '../model/index.ts';
import type { Resident } from '../runtime/index.ts';
import type { Tensor } from '../tensor/tensor.ts';
import { silent, type ReportProgress } from '../util/progress.ts';
import {
  closeReference,
  damageOf,
  openReference,
  windowMeans,
  type Damage,
  type ReferencePass,
} from './reference.ts';

/** Damage of the model with this block in its slot. */
export interface BlockScore extends Damage {
  readonly config: BlockConfig;
}

export interface SlotScores {
  readonly slot: number;
  /** In the order of the alternatives. */
  readonly scores: readonly BlockScore[];
}

export interface ScoreJob {
  readonly teacher: Execution;
  /** The model whose blocks are replaced; the teacher itself if absent. */
  readonly base?: Execution;
  /** Per slot. */
  readonly alternatives: readonly (readonly BlockConfig[])[];
  /** Weights of the alternatives; asked for neither the base's own block nor one without weights. */
  readonly weights: (slot: number, config: BlockConfig) => Promise<Weights<Tensor<'float32'>>>;
  /** Text that took part in no fit. */
  readonly text: TokenWindows;
  /** Slots whose scores are there already. */
  readonly finished?: ReadonlySet<number>;
  readonly report?: ReportProgress;
}

/** A pass with the base's stream before the slot at hand. */
interface Pass extends ReferencePass {
  readonly state: Resident;
}

/**
 * Scores every alternative of every slot that is not finished, slot by slot. A slot's scores depend on the job alone.
 */
export async function* scoreReplacements(job: ScoreJob): AsyncGenerator<SlotScores, void, void> {
  const { teacher, base = teacher, alternatives, finished, report = silent } = job;
  const open = alternatives.flatMap((group, slot) =>
    group.length === 0 || finished?.has(slot) ? [] : [slot],
  );
  if (open.length === 0) return;
  const isOwn = (slot: number, config: BlockConfig): boolean => sameBlock(config, base.blocks[slot]!.config);
  const total = open.reduce(
    (sum, slot) => sum + alternatives[slot]!.filter((config) => !isOwn(slot, config)).length,
    0,
  );
  report({ kind: 'stage-started', stage: 'score', total, unit: 'blocks' });
  let done = 0;
  const reference = await openReference(teacher, job.text);
  let passes: readonly Pass[] = [];
  try {
    const own = await damageOf(base, reference);
    passes = await embedPasses(base, reference);
    let reached = 0;
    for (const slot of open) {
      passes = await advance(base, passes, reached, slot);
      reached = slot;
      const scores: BlockScore[] = [];
      for (const config of alternatives[slot]!) {
        if (isOwn(slot, config)) {
          scores.push({ config, ...own });
          continue;
        }
        const weights = blockOf(config).output === undefined ? {} : await job.weights(slot, config);
        scores.push({ config, ...(await damageWith(base, slot, config, weights, passes)) });
        done += 1;
        report({
          kind: 'advanced',
          stage: 'score',
          done,
          note: `slot ${slot}: ${blockOf(config).label(config, teacher.blocks[slot]!.config)}`,
        });
      }
      yield { slot, scores };
    }
    report({ kind: 'stage-finished', stage: 'score' });
  } finally {
    await teacher.runtime.release(...passes.map(({ state }) => state));
    await closeReference(teacher, reference);
  }
}

async function embedPasses(base: Execution, reference: readonly ReferencePass[]): Promise<readonly Pass[]> {
  const passes: Pass[] = [];
  for (const pass of reference) passes.push({ ...pass, state: await embed(base, pass.tokens, pass.windows) });
  return passes;
}

/** The passes with the base's stream before slot `to`. */
async function advance(
  base: Execution,
  passes: readonly Pass[],
  from: number,
  to: number,
): Promise<readonly Pass[]> {
  const moved: Pass[] = [];
  for (const pass of passes) {
    const state = await forward(base, pass.state, pass.windows, { from, to });
    if (state !== pass.state) await base.runtime.release(pass.state);
    moved.push({ ...pass, state });
  }
  return moved;
}

async function damageWith(
  base: Execution,
  slot: number,
  config: BlockConfig,
  weights: Weights<Tensor<'float32'>>,
  passes: readonly Pass[],
): Promise<Damage> {
  const block = await placeBlock(base, config, weights);
  try {
    const judgements: Judgement[] = [];
    for (const pass of passes) judgements.push(await judgeWith(base, slot, block, pass));
    return windowMeans(passes, judgements);
  } finally {
    await releaseBlock(base, block);
  }
}

async function judgeWith(
  base: Execution,
  slot: number,
  block: PlacedBlock,
  { windows, state, targets, prediction }: Pass,
): Promise<Judgement> {
  const isNoOp = blockOf(block.config).output === undefined;
  const after = isNoOp ? state : (await runBlock(base, block, state, windows, ['stream'])).stream;
  const last = await forward(base, after, windows, { from: slot + 1 });
  const judgement = await judge(base, last, targets, prediction);
  await base.runtime.release(...new Set([after, last].filter((stream) => stream !== state)));
  return judgement;
}
