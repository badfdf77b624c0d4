/**
 * Trains the bundled teacher: `npx tsx bench/teacher/train.ts`. A killed run goes on from its last checkpoint in
 * .puzzle/teacher; the weights of the lowest validation loss stand in models/moby-2m.
 */
import { existsSync } from 'node:fs';
import { mkdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { Tokenizer } from '@huggingface/tokenizers';
import { graph, input, trainingLoop, type TrainingScalars } from '../../src/graph/index.ts';
import { bundledText } from '../../src/model/bundled-text.ts';
import { openRuntime, type Runtime } from '../../src/runtime/index.ts';
import { float32, inMemory, openSafetensors, writeSafetensors, type Tensor } from '../../src/tensor/index.ts';
import { writeFileAtomically } from '../../src/util/atomic-file.ts';
import { seededRandom } from '../../src/util/random.ts';
import { trainTokenizer } from './byte-pair.ts';
import { card, type Checkpoint } from './card.ts';
import {
  architecture,
  crossEntropy,
  huggingFaceConfig,
  initialParameters,
  parameterShapes,
} from './model.ts';

const modelFolder = 'models/moby-2m';
const checkpointFolder = '.puzzle/teacher';
const stateFile = join(checkpointFolder, 'state.safetensors');
const historyFile = join(checkpointFolder, 'history.json');

const windowTokens = architecture.stream.contextLength;
const batch = 8;
const stepsPerCall = 10;
const stepsPerCheckpoint = 100;
const validationBatches = 32;
const seed = 1;

const schedule: Omit<TrainingScalars, 'step'> = {
  learningRate: 4e-3,
  warmupSteps: 100,
  totalSteps: 2400,
  finalFraction: 0.02,
  weightDecay: 0.1,
  clipNorm: 1,
};

const idsType = { dtype: 'int32', shape: [batch, windowTokens + 1] } as const;

type State = Readonly<Record<string, Tensor<'float32'>>>;

async function main(): Promise<void> {
  await mkdir(checkpointFolder, { recursive: true });
  const text = bundledText();
  const tokenizer = await bundledTokenizer(text.train);
  const encode = (part: string): Int32Array => Int32Array.from(tokenizer.encode(part).ids);
  const [trainIds, validationIds] = [encode(text.train), encode(text.validation)];
  const unigram = unigramLoss(trainIds, validationIds);
  console.log(
    `${trainIds.length} training tokens, ${validationIds.length} for validation, unigram loss ${unigram.toFixed(3)}`,
  );

  const runtime = await openRuntime({ device: 'cpu' });
  let { state, history } = await resume();
  const batches = trainingBatches(trainIds);
  for (let step = 0; step < (history.at(-1)?.step ?? 0); step++) batches.next();
  for (let step = history.at(-1)?.step ?? 0; step < schedule.totalSteps; step += stepsPerCheckpoint) {
    const started = performance.now();
    const losses: number[] = [];
    while (losses.length < stepsPerCheckpoint) {
      const outcome = await trainSteps(runtime, state, batches);
      state = outcome.state;
      losses.push(...outcome.losses);
    }
    const checkpoint: Checkpoint = {
      step: step + stepsPerCheckpoint,
      seconds: (history.at(-1)?.seconds ?? 0) + (performance.now() - started) / 1000,
      trainLoss: mean(losses),
      validationLoss: await lossOn(runtime, parametersOf(state), validationIds),
    };
    const isBest = history.every(({ validationLoss }) => checkpoint.validationLoss < validationLoss);
    history = [...history, checkpoint];
    console.log(JSON.stringify(checkpoint));
    // History first: a kill in between leaves entries beyond the state, which `resume` drops.
    await writeFileAtomically(historyFile, JSON.stringify(history));
    await saveTensors(stateFile, state, 'F32');
    if (isBest) {
      await saveTensors(join(modelFolder, 'model.safetensors'), parametersOf(state), 'BF16');
      await writeJson('config.json', huggingFaceConfig);
      const facts = {
        ...schedule,
        seed,
        tokensPerStep: batch * windowTokens,
        trainTokens: trainIds.length,
        unigramLoss: unigram,
      };
      await writeFileAtomically(join(modelFolder, 'README.md'), card(history, facts));
    }
  }
  await runtime.close();
}

/** The tokenizer of the model folder; learnt from the training text the first time. */
async function bundledTokenizer(text: string): Promise<Tokenizer> {
  const path = join(modelFolder, 'tokenizer.json');
  // Decoding is exact only without the clean-up of spaces before punctuation.
  const config = { tokenizer_class: 'PreTrainedTokenizerFast', clean_up_tokenization_spaces: false };
  if (!existsSync(path)) {
    await writeJson('tokenizer.json', trainTokenizer(text, architecture.stream.vocabularySize));
    await writeJson('tokenizer_config.json', config);
  }
  return new Tokenizer(JSON.parse(await readFile(path, 'utf8')) as object, config);
}

const writeJson = async (name: string, content: object): Promise<void> =>
  writeFileAtomically(join(modelFolder, name), `${JSON.stringify(content, null, 2)}\n`);

// Training

const training = trainingLoop({
  loss: (parameters, { ids }) => crossEntropy(parameters, ids!),
  parameters: parameterShapes,
  data: { ids: idsType },
  steps: stepsPerCall,
});

async function trainSteps(
  runtime: Runtime,
  state: State,
  batches: Generator<Int32Array, never>,
): Promise<{ state: State; losses: Float32Array }> {
  const ids = Int32Array.from(Array.from({ length: stepsPerCall }, () => [...batches.next().value]).flat());
  const scalars = Object.entries(schedule).map(
    ([name, value]) => [name, float32(Float32Array.of(value), [])] as const,
  );
  const outputs = await runtime.run(training, {
    ...state,
    ...Object.fromEntries(scalars),
    'data.ids': { dtype: 'int32', shape: [stepsPerCall, ...idsType.shape], data: ids },
  });
  const next = Object.keys(state).map((name) => [name, outputs[`next.${name}`]!] as const);
  return { state: Object.fromEntries(next) as State, losses: outputs['losses']!.data as Float32Array };
}

/** Batches of windows (and the token after each) in a new random order each epoch, cut from a new offset. */
function* trainingBatches(ids: Int32Array): Generator<Int32Array, never> {
  const random = seededRandom(seed);
  for (;;) {
    const offset = random.integer(windowTokens);
    const count = Math.floor((ids.length - 1 - offset) / windowTokens);
    const starts = random.shuffle(Array.from({ length: count }, (_, index) => offset + index * windowTokens));
    for (let first = 0; first + batch <= count; first += batch) {
      yield Int32Array.from(
        starts
          .slice(first, first + batch)
          .flatMap((start) => [...ids.subarray(start, start + windowTokens + 1)]),
      );
    }
  }
}

// Validation

const parameterInputs = Object.entries(parameterShapes).map(
  ([name, shape]) => [name, input(name, 'float32', shape)] as const,
);
const validation = graph({
  loss: crossEntropy(Object.fromEntries(parameterInputs), input('ids', idsType.dtype, idsType.shape)),
});

/** Mean cross-entropy over windows spread evenly over the text. */
async function lossOn(runtime: Runtime, parameters: State, ids: Int32Array): Promise<number> {
  const windows = validationBatches * batch;
  const stride = Math.floor((ids.length - windowTokens - 1) / windows);
  const losses: number[] = [];
  for (let first = 0; first < windows; first += batch) {
    const data = Array.from({ length: batch }, (_, row) => {
      const start = (first + row) * stride;
      return [...ids.subarray(start, start + windowTokens + 1)];
    });
    const feeds = { ...parameters, ids: { ...idsType, data: Int32Array.from(data.flat()) } };
    losses.push((await runtime.run(validation, feeds))['loss']!.data[0] as number);
  }
  return mean(losses);
}

/** Cross-entropy on `held` of the token frequencies of `ids`, each count one higher so that none is 0. */
function unigramLoss(ids: Int32Array, held: Int32Array): number {
  const counts = new Float64Array(architecture.stream.vocabularySize).fill(1);
  for (const id of ids) counts[id]!++;
  const total = ids.length + counts.length;
  return mean([...held].map((id) => -Math.log(counts[id]! / total)));
}

const mean = (values: readonly number[]): number =>
  values.reduce((sum, value) => sum + value, 0) / values.length;

// State: parameters, Adam's moments and the step count, by the names of the training graph

const parametersOf = (state: State): State =>
  Object.fromEntries(Object.keys(parameterShapes).map((name) => [name, state[`parameter.${name}`]!]));

function firstState(): State {
  const entries = Object.entries(initialParameters(seededRandom(seed))).flatMap(([name, tensor]) => {
    const zeros = (): Tensor<'float32'> => float32(new Float32Array(tensor.data.length), tensor.shape);
    return [
      [`parameter.${name}`, tensor],
      [`mean.${name}`, zeros()],
      [`square.${name}`, zeros()],
    ] as const;
  });
  return { ...Object.fromEntries(entries), step: float32(Float32Array.of(0), []) };
}

async function resume(): Promise<{ state: State; history: readonly Checkpoint[] }> {
  if (!existsSync(stateFile)) return { state: firstState(), history: [] };
  const file = await openSafetensors(stateFile);
  const entries: [string, Tensor<'float32'>][] = [];
  for (const [name, stored] of file.tensors) entries.push([name, await stored.load()]);
  await file.close();
  const state = Object.fromEntries(entries);
  const history = JSON.parse(await readFile(historyFile, 'utf8')) as readonly Checkpoint[];
  return { state, history: history.filter(({ step }) => step <= state['step']!.data[0]!) };
}

const saveTensors = async (path: string, tensors: State, encoding: 'F32' | 'BF16'): Promise<void> =>
  writeSafetensors(
    path,
    Object.entries(tensors).map(([name, tensor]) => inMemory(name, tensor, encoding)),
  );

await main();
