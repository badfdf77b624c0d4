/** A teacher's predictions on a text, made once and compared with any number of students. */
import {
  embed,
  forward,
  judge,
  predict,
  releasePrediction,
  type Execution,
  type Judgement,
  type Prediction,
  type Windows,
} from '../execution/index.ts';
import type { TokenWindows } from '../model/index.ts';
import type { Resident } from '../runtime/index.ts';

/** How far a model's predictions are from its teacher's, one value per window: the mean over its predictions. */
export interface Damage {
  /** KL(teacher || student), nats. */
  readonly kl: readonly number[];
  /** Negative log-likelihood of the text, nats. */
  readonly loss: readonly number[];
  /** Share of positions whose likeliest token is the teacher's. */
  readonly agreement: readonly number[];
}

/** Windows that run together. */
export interface ReferencePass {
  readonly windows: Windows;
  readonly tokens: Int32Array;
  readonly targets: Int32Array;
  readonly prediction: Prediction;
}

/** Rows of one pass: products run at full speed, logits stay small. */
const passRows = 2048;

/** Runs the teacher over the text. Release it with `closeReference`. */
export async function openReference(
  teacher: Execution,
  { ids, window, count }: TokenWindows,
): Promise<readonly ReferencePass[]> {
  const batch = Math.max(1, Math.floor(passRows / window));
  const passes: ReferencePass[] = [];
  for (let first = 0; first < count; first += batch) {
    const windows = { batch: Math.min(batch, count - first), tokens: window };
    const tokens = ids.slice(first * window, (first + windows.batch) * window);
    const targets = Int32Array.from(tokens, (_, i) => tokens[i + 1] ?? 0); // the last of a window is ignored
    const prediction = await withLast(teacher, tokens, windows, (last) => predict(teacher, last));
    passes.push({ windows, tokens, targets, prediction });
  }
  return passes;
}

export async function closeReference(teacher: Execution, passes: readonly ReferencePass[]): Promise<void> {
  for (const { prediction } of passes) await releasePrediction(teacher, prediction);
}

/** Damage of a whole student. */
export async function damageOf(student: Execution, passes: readonly ReferencePass[]): Promise<Damage> {
  const judgements: Judgement[] = [];
  for (const { tokens, windows, targets, prediction } of passes)
    judgements.push(
      await withLast(student, tokens, windows, (last) => judge(student, last, targets, prediction)),
    );
  return windowMeans(passes, judgements);
}

async function withLast<T>(
  model: Execution,
  tokens: Int32Array,
  windows: Windows,
  use: (last: Resident) => Promise<T>,
): Promise<T> {
  const first = await embed(model, tokens, windows);
  const last = await forward(model, first, windows);
  const result = await use(last);
  await model.runtime.release(...new Set([first, last]));
  return result;
}

/** Judgements of passes, in their order, as means over windows. */
export function windowMeans(passes: readonly ReferencePass[], judgements: readonly Judgement[]): Damage {
  const means = (values: (judgement: Judgement) => ArrayLike<number>): number[] =>
    passes.flatMap(({ windows: { batch, tokens } }, i) =>
      Array.from({ length: batch }, (_, window) => {
        const own = values(judgements[i]!);
        let sum = 0;
        // The last position of a window predicts nothing that the text tells.
        for (let t = 0; t < tokens - 1; t++) sum += own[window * tokens + t]!;
        return sum / (tokens - 1);
      }),
    );
  return {
    kl: means(({ kl }) => kl!),
    loss: means(({ logProbability }) => logProbability).map((mean) => -mean),
    agreement: means(({ agreement }) => agreement!),
  };
}
