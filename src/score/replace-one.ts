/**
 * Replace-one-block scores (arXiv 2411.19146, sec. 4.2): one block of the teacher replaced, all else unchanged, how far
 * do the predictions move? What comes before the block is run once for all its alternatives.
 */
import { blockOf, sameBlock, type Weights } from '../blocks/index.ts';
import {
  embed,
  forward,
  judge,
  placeBlock,
  predict,
  releaseBlock,
  releasePrediction,
  runBlock,
  type Execution,
  type Judgement,
  type PlacedBlock,
  type Prediction,
  type Windows,
} from '../execution/index.ts';
import type { BlockConfig, TokenWindows } from '../model/index.ts';
import type { Resident } from '../runtime/index.ts';
import type { Tensor } from '../tensor/tensor.ts';
import { silent, type ReportProgress } from '../util/progress.ts';

/** Damage of one block, one value per window: the mean over the window's predictions. */
export interface BlockScore {
  readonly config: BlockConfig;
  /** KL(teacher || student), nats. */
  readonly kl: readonly number[];
  /** Negative log-likelihood of the text, nats. */
  readonly loss: readonly number[];
  /** Share of positions whose likeliest token is the teacher's. */
  readonly agreement: readonly number[];
}

export interface SlotScores {
  readonly slot: number;
  /** In the order of the alternatives; the teacher's own block has KL 0, agreement 1 and the teacher's loss. */
  readonly scores: readonly BlockScore[];
}

export interface ScoreJob {
  readonly teacher: Execution;
  /** Per slot. */
  readonly alternatives: readonly (readonly BlockConfig[])[];
  /** Weights of the alternatives; asked for neither the teacher's own block nor one without weights. */
  readonly weights: (slot: number, config: BlockConfig) => Promise<Weights<Tensor<'float32'>>>;
  /** Text that took part in no fit. */
  readonly text: TokenWindows;
  /** Slots whose scores are there already. */
  readonly finished?: ReadonlySet<number>;
  readonly report?: ReportProgress;
}

/** Rows of one pass: products run at full speed, logits stay small. */
const passRows = 2048;

/** Windows that run together. */
interface Pass {
  readonly windows: Windows;
  readonly targets: Int32Array;
  readonly prediction: Prediction;
  /** The teacher's stream before the slot at hand. */
  readonly state: Resident;
  readonly judgement: Judgement;
}

/**
 * Scores every alternative of every slot that is not finished, slot by slot. A slot's scores depend on the job alone.
 */
export async function* scoreReplacements(job: ScoreJob): AsyncGenerator<SlotScores, void, void> {
  const { teacher, alternatives, finished, report = silent } = job;
  const open = alternatives.map((_, slot) => slot).filter((slot) => !finished?.has(slot));
  if (open.length === 0) return;
  const candidates = (slot: number): readonly BlockConfig[] =>
    alternatives[slot]!.filter((config) => !sameBlock(config, teacher.blocks[slot]!.config));
  const total = open.reduce((sum, slot) => sum + candidates(slot).length, 0);
  report({ kind: 'stage-started', stage: 'score', total, unit: 'blocks' });
  let done = 0;
  let passes = await openPasses(teacher, job.text);
  try {
    let reached = 0;
    for (const slot of open) {
      passes = await advance(teacher, passes, reached, slot);
      reached = slot;
      const scores: BlockScore[] = [];
      for (const config of alternatives[slot]!) {
        if (sameBlock(config, teacher.blocks[slot]!.config)) {
          scores.push(scoreOf(config, passes, passes.map(ownJudgement)));
          continue;
        }
        const weights = blockOf(config).output === undefined ? {} : await job.weights(slot, config);
        scores.push(await scoreBlock(teacher, slot, config, weights, passes));
        done += 1;
        report({
          kind: 'advanced',
          stage: 'score',
          done,
          note: `slot ${slot}: ${blockOf(config).label(config)}`,
        });
      }
      yield { slot, scores };
    }
    report({ kind: 'stage-finished', stage: 'score' });
  } finally {
    await teacher.runtime.release(...passes.map(({ state }) => state));
    for (const { prediction } of passes) await releasePrediction(teacher, prediction);
  }
}

/** Runs the teacher to its end once, for its predictions; the stream starts again before the first slot. */
async function openPasses(
  teacher: Execution,
  { ids, window, count }: TokenWindows,
): Promise<readonly Pass[]> {
  const batch = Math.max(1, Math.floor(passRows / window));
  const passes: Pass[] = [];
  for (let first = 0; first < count; first += batch) {
    const windows = { batch: Math.min(batch, count - first), tokens: window };
    const tokens = ids.slice(first * window, (first + windows.batch) * window);
    const targets = Int32Array.from(tokens, (_, i) => tokens[i + 1] ?? 0); // the last of a window is ignored
    const state = await embed(teacher, tokens, windows);
    const last = await forward(teacher, state, windows);
    const prediction = await predict(teacher, last);
    const judgement = await judge(teacher, last, targets, prediction);
    if (last !== state) await teacher.runtime.release(last);
    passes.push({ windows, targets, prediction, state, judgement });
  }
  return passes;
}

/** The passes with the teacher's stream before slot `to`. */
async function advance(
  teacher: Execution,
  passes: readonly Pass[],
  from: number,
  to: number,
): Promise<readonly Pass[]> {
  const moved: Pass[] = [];
  for (const pass of passes) {
    const state = await forward(teacher, pass.state, pass.windows, { from, to });
    if (state !== pass.state) await teacher.runtime.release(pass.state);
    moved.push({ ...pass, state });
  }
  return moved;
}

async function scoreBlock(
  teacher: Execution,
  slot: number,
  config: BlockConfig,
  weights: Weights<Tensor<'float32'>>,
  passes: readonly Pass[],
): Promise<BlockScore> {
  const block = await placeBlock(teacher, config, weights);
  try {
    const judgements: Judgement[] = [];
    for (const pass of passes) judgements.push(await judgeWith(teacher, slot, block, pass));
    return scoreOf(config, passes, judgements);
  } finally {
    await releaseBlock(teacher, block);
  }
}

async function judgeWith(
  teacher: Execution,
  slot: number,
  block: PlacedBlock,
  { windows, state, targets, prediction }: Pass,
): Promise<Judgement> {
  const isNoOp = blockOf(block.config).output === undefined;
  const after = isNoOp ? state : (await runBlock(teacher, block, state, windows, ['stream'])).stream;
  const last = await forward(teacher, after, windows, { from: slot + 1 });
  const judgement = await judge(teacher, last, targets, prediction);
  await teacher.runtime.release(...new Set([after, last].filter((stream) => stream !== state)));
  return judgement;
}

const ownJudgement = ({ judgement: { logProbability } }: Pass): Judgement => ({
  logProbability,
  kl: new Float32Array(logProbability.length),
  agreement: new Uint8Array(logProbability.length).fill(1),
});

function scoreOf(config: BlockConfig, passes: readonly Pass[], judgements: readonly Judgement[]): BlockScore {
  const perWindow = (values: (judgement: Judgement) => ArrayLike<number>): number[] =>
    passes.flatMap(({ windows }, i) => windowMeans(values(judgements[i]!), windows));
  return {
    config,
    kl: perWindow(({ kl }) => kl!),
    loss: perWindow(({ logProbability }) => logProbability).map((mean) => -mean),
    agreement: perWindow(({ agreement }) => agreement!),
  };
}

/** The last position of a window predicts nothing that the text tells. */
function windowMeans(values: ArrayLike<number>, { batch, tokens }: Windows): number[] {
  return Array.from({ length: batch }, (_, window) => {
    let sum = 0;
    for (let i = 0; i < tokens - 1; i++) sum += values[window * tokens + i]!;
    return sum / (tokens - 1);
  });
}
