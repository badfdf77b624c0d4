import { afterAll, beforeAll, expect, test } from 'vitest';
import { closeExecution, openExecution, type Execution } from '../../src/execution/index.ts';
import { trainBlocks, type TrainedBlock } from '../../src/library/index.ts';
import type { BlockConfig, TokenWindows } from '../../src/model/index.ts';
import { openRuntime, type Runtime } from '../../src/runtime/index.ts';
import { seededRandom } from '../../src/util/random.ts';
import { randomWeights } from '../blocks/samples.ts';
import { mixed, randomSource } from '../execution/small-model.ts';

const random = seededRandom(5);
const windows = (count: number): TokenWindows => ({
  window: 32,
  count,
  ids: Int32Array.from({ length: 32 * count }, () => random.integer(mixed.stream.vocabularySize)),
});
const [text, validation] = [windows(24), windows(8)];

let runtime: Runtime;
let teacher: Execution;
beforeAll(async () => {
  runtime = await openRuntime({ device: 'cpu', threads: 1 });
  teacher = await openExecution(randomSource(mixed, 7), runtime);
});
afterAll(async () => {
  await closeExecution(teacher);
  await runtime.close();
});

const narrow: readonly (readonly [slot: number, config: BlockConfig])[] = [
  [1, { kind: 'swiglu', width: 3 }],
  [3, { kind: 'swiglu', width: 5 }],
];

async function train(
  of: typeof narrow,
  { steps = 24, learningRate = 0.01 } = {},
): Promise<readonly Omit<TrainedBlock, 'seconds'>[]> {
  const trained = trainBlocks({
    teacher,
    text,
    validation,
    chunkTokens: 256,
    blocks: of.map(([slot, config]) => ({
      slot,
      config,
      options: {
        steps,
        stepTokens: 64,
        learningRate,
        weightDecay: 0,
        warmupSteps: 2,
        validations: 2,
        seed: 1,
        tokenWeights: 'stream',
      },
      start: async () => randomWeights(config, mixed.stream, slot),
    })),
  });
  const blocks = [];
  for await (const { seconds: _, ...block } of trained) blocks.push(block);
  return blocks;
}

test('each block ends with a lower validation loss, whatever is trained beside it, and nothing stays on the device', async () => {
  const held = runtime.residents;
  const both = await train(narrow);
  expect(both.map(({ slot }) => slot)).toEqual([1, 3]);
  for (const { losses, weights } of both) {
    expect(losses.kept).toBeLessThan(losses.start);
    expect(weights).toBeDefined();
  }
  const [alone] = await train(narrow.slice(1));
  expect(alone).toEqual(both[1]);
  expect(runtime.residents).toBe(held);
});

test('a block that no step helps stays as it is', async () => {
  for (const options of [{ steps: 0 }, { learningRate: 1e4 }]) {
    const [block] = await train(narrow.slice(0, 1), options);
    expect(block!.weights).toBeUndefined();
    expect(block!.losses.kept).toBe(block!.losses.start);
  }
});

test('whoever stops listening leaves nothing on the device', async () => {
  const held = runtime.residents;
  const steps = {
    steps: 4,
    stepTokens: 64,
    learningRate: 0.01,
    weightDecay: 0,
    warmupSteps: 2,
    validations: 1,
  };
  for await (const { slot } of trainBlocks({
    teacher,
    text,
    validation,
    chunkTokens: 256,
    blocks: narrow.map(([at, config]) => ({
      slot: at,
      config,
      options: { ...steps, seed: 0 },
      start: async () => randomWeights(config, mixed.stream, at),
    })),
  })) {
    expect(slot).toBe(1);
    break;
  }
  expect(runtime.residents).toBe(held);
});
