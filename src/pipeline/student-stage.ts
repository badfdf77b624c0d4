/** The student stage: architectures assembled from a library and evaluated on text nobody chose by. */
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { z } from 'zod';
import { blockOf, sameBlock, type Weights } from '../blocks/index.ts';
import {
  evaluate,
  predictText,
  releaseTextPredictions,
  type Evaluation,
  type TextPredictions,
} from '../evaluate/index.ts';
import {
  placeBlock,
  releaseBlock,
  withBlocks,
  type Execution,
  type PlacedBlock,
} from '../execution/index.ts';
import { paperInitialisation, type BlockWeights } from '../library/index.ts';
import { saveStudent, type BlockConfig } from '../model/index.ts';
import type { StoredTensor } from '../tensor/index.ts';
import { hashOf } from '../util/hash.ts';
import { checkAgainst } from '../util/json.ts';
import type { ReportProgress } from '../util/progress.ts';
import { loadStored } from './block-file.ts';
import type { TrainedLibrary } from './library-stage.ts';
import { readJobJson, type Store } from './store.ts';
import type { Teacher } from './teacher.ts';
import type { RunText } from './texts.ts';

/** Raised when the same student gives other figures. */
const version = 2;

/** Weights for a student's blocks in place of the library's, wherever a block has any. */
export interface StudentBlocks {
  /** Identifies them. */
  readonly key: string;
  /** Unread. */
  stored(slot: number): Promise<Weights<StoredTensor>>;
}

/** An architecture to try: a position among the alternatives of each slot. */
export interface Candidate {
  readonly name: string;
  readonly choice: readonly number[];
  /** `library` takes the library's blocks, `paper` the paper's initialisation of the same ones. */
  readonly weights: 'library' | 'paper' | StudentBlocks;
}

export const weightsKey = (weights: Candidate['weights']): string =>
  typeof weights === 'string' ? weights : weights.key;

export interface EvaluatedCandidate extends Candidate {
  /** One per evaluation text, in their order. */
  readonly evaluations: readonly Evaluation[];
}

export interface StudentStageInput {
  readonly teacher: Teacher;
  readonly alternatives: readonly (readonly BlockConfig[])[];
  readonly library: TrainedLibrary;
  readonly texts: readonly RunText[];
  readonly device: string;
}

/** Evaluates whatever candidates the store lacks, each on every text. */
export async function studentStage(
  input: StudentStageInput,
  candidates: readonly Candidate[],
  store: Store,
  report: ReportProgress,
): Promise<readonly EvaluatedCandidate[]> {
  const stage = 'students';
  report({ kind: 'stage-started', stage, total: candidates.length, unit: 'students' });
  const evaluated: EvaluatedCandidate[] = [];
  const predictions = new Map<RunText, TextPredictions>(); // the teacher's, made when the first student needs them
  for (const candidate of candidates) {
    report({ kind: 'advanced', stage, done: evaluated.length, note: candidate.name });
    const job = await store.run(
      {
        stage: 'student',
        version,
        inputs: {
          teacher: input.teacher.checkpoint.identity,
          texts: input.texts.map(({ hash }) => hash),
          weights: weightsKey(candidate.weights),
          blocks: hashOf(candidate.choice.map((position, slot) => input.library.keys[slot]![position]!)),
          device: input.device,
        },
      },
      async (folder) => {
        const evaluations = await evaluateCandidate(input, candidate, predictions);
        await writeFile(join(folder, evaluationFile), `${JSON.stringify(evaluations)}\n`);
      },
    );
    const at = join(job.folder, evaluationFile);
    const content = await readJobJson(job, evaluationFile);
    const evaluations = checkAgainst(
      evaluationsSchema,
      content,
      at,
      'Remove the store; it will be made again.',
    );
    evaluated.push({ ...candidate, evaluations: evaluations as readonly Evaluation[] });
  }
  for (const kept of predictions.values())
    await releaseTextPredictions(await input.teacher.execution(), kept);
  report({ kind: 'stage-finished', stage });
  return evaluated;
}

/** A student with weights of its own making, the library's or what was made of them. */
export interface Student {
  readonly choice: readonly number[];
  readonly weights: 'library' | StudentBlocks;
}

/** Weights of a student's block, unread. */
export async function storedBlock(
  { teacher, alternatives, library }: Pick<StudentStageInput, 'teacher' | 'alternatives' | 'library'>,
  { choice, weights }: Student,
  slot: number,
): Promise<Weights<StoredTensor>> {
  const { checkpoint } = teacher;
  const config = alternatives[slot]![choice[slot]!]!;
  if (weights !== 'library' && blockOf(config).output !== undefined) return weights.stored(slot);
  const isOwn = sameBlock(config, checkpoint.architecture.slots[slot]!.block);
  return isOwn ? checkpoint.slot(slot) : library.stored(slot, config);
}

/** Writes the weights of a candidate as a folder of its own, holding one tensor at a time. */
export async function saveCandidate(
  input: StudentStageInput,
  student: Student,
  folder: string,
): Promise<void> {
  const { alternatives } = input;
  const { checkpoint } = input.teacher;
  const { stream, slots } = checkpoint.architecture;
  const architecture = {
    stream,
    slots: slots.map((slot, index) => ({ ...slot, block: alternatives[index]![student.choice[index]!]! })),
  };
  const weights = await Promise.all(slots.map((_, index) => storedBlock(input, student, index)));
  const tokenizer = await checkpoint.tokenizer();
  await saveStudent(
    folder,
    architecture,
    { stream: checkpoint.stream, slot: (index) => weights[index]! },
    tokenizer,
  );
}

const evaluationFile = 'evaluation.json';
const interval = z.strictObject({
  value: z.number(),
  low: z.number().nullable(),
  high: z.number().nullable(),
});
const evaluationsSchema = z.array(
  z.strictObject({
    tokens: z.number(),
    perplexity: interval,
    kl: interval.optional(),
    top1Agreement: interval.optional(),
  }),
);

async function evaluateCandidate(
  input: StudentStageInput,
  candidate: Candidate,
  predictions: Map<RunText, TextPredictions>,
): Promise<readonly Evaluation[]> {
  const teacher = await input.teacher.execution();
  return withCandidate(input, candidate, async (student) => {
    const evaluations: Evaluation[] = [];
    for (const text of input.texts) {
      const { ids, window } = text;
      const known = predictions.get(text) ?? (await predictText(teacher, ids, { window }));
      predictions.set(text, known);
      evaluations.push(await evaluate(student, ids, { window, teacher: known }));
    }
    return evaluations;
  });
}

/** Places the blocks of a candidate that differ from the teacher's beside it, for as long as `use` takes. */
export async function withCandidate<T>(
  { teacher, alternatives, library }: Pick<StudentStageInput, 'teacher' | 'alternatives' | 'library'>,
  { choice, weights }: Omit<Candidate, 'name'>,
  use: (student: Execution) => Promise<T>,
): Promise<T> {
  const execution = await teacher.execution();
  const paper = paperInitialisation(teacher.source, library.meanAbsFeature);
  const source: BlockWeights =
    weights === 'library'
      ? library.weights
      : weights === 'paper'
        ? paper
        : async (slot) => loadStored(await weights.stored(slot));
  const placed = new Map<number, PlacedBlock>();
  try {
    for (const [slot, { block }] of execution.architecture.slots.entries()) {
      const config = alternatives[slot]![choice[slot]!]!;
      if (sameBlock(config, block) && typeof weights === 'string') continue;
      const tensors = blockOf(config).output === undefined ? {} : await source(slot, config);
      placed.set(slot, await placeBlock(execution, config, tensors));
    }
    return await use(withBlocks(execution, placed));
  } finally {
    for (const block of placed.values()) await releaseBlock(execution, block);
  }
}
