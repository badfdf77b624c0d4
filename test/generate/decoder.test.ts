import fc from 'fast-check';
import { afterAll, afterEach, beforeAll, expect, test } from 'vitest';
import { blocks } from '../../src/blocks/index.ts';
import {
  checkpointSource,
  closeExecution,
  embed,
  forward,
  nextTokenLogProbabilities,
  openExecution,
  type Execution,
} from '../../src/execution/index.ts';
import {
  closeDecoder,
  decoderGraph,
  openDecoder,
  openSequences,
  type Decoder,
} from '../../src/generate/index.ts';
import { add, encode, graph, input, reshape, symbolicGraph } from '../../src/graph/index.ts';
import { openModel } from '../../src/model/index.ts';
import { openRuntime, type Runtime } from '../../src/runtime/index.ts';
import { randomSource, referenceForward } from '../execution/small-model.ts';
import { heterogeneous } from './served-model.ts';

let runtime: Runtime;
beforeAll(async () => {
  runtime = await openRuntime({ device: 'cpu', threads: 1 });
});
afterAll(async () => runtime.close());
afterEach(() => {
  if (runtime.residents > 0) throw new Error(`${runtime.residents} residents were never released`);
});

const { vocabularySize, contextLength } = heterogeneous.stream;
const tokens = Array.from({ length: 23 }, (_, i) => (i * i * 7 + 3 * i) % vocabularySize);

const logSoftmax = (logits: readonly number[]): number[] => {
  const most = Math.max(...logits);
  const sum = Math.log(logits.reduce((total, z) => total + Math.exp(z - most), 0));
  return logits.map((z) => z - most - sum);
};
const rowsOf = (logits: Float32Array, width: number): number[][] =>
  Array.from({ length: logits.length / width }, (_, row) =>
    logSoftmax(Array.from(logits.slice(row * width, (row + 1) * width))),
  );
const worst = (a: readonly (readonly number[])[], b: readonly (readonly number[])[]): number =>
  a.reduce(
    (most, row, t) => row.reduce((largest, value, v) => Math.max(largest, Math.abs(value - b[t]![v]!)), most),
    0,
  );

async function withDecoder(use: (decoder: Decoder) => Promise<void>): Promise<void> {
  const decoder = await openDecoder(randomSource(heterogeneous, 5), runtime);
  await use(decoder);
  await closeDecoder(decoder);
}

test('the model of these tests has every kind of block', () => {
  const kinds = new Set(heterogeneous.slots.map(({ block }) => block.kind));
  expect([...kinds].sort()).toEqual(blocks.map(({ kind }) => kind).sort());
});

test('sequences that grow together have the logits that each has alone', async () => {
  const others = tokens.map((token) => (token * 5 + 1) % vocabularySize);
  await withDecoder(async (decoder) => {
    const alone: number[][] = [];
    for (const text of [tokens, others]) {
      const sequence = await openSequences(decoder, contextLength);
      alone.push(...rowsOf(await sequence.append(text, text.length), vocabularySize));
      await sequence.close();
    }
    const together = await openSequences(decoder, contextLength, 2);
    const found: number[][][] = [[], []];
    for (const start of [0, ...Array.from(tokens.keys()).slice(9)]) {
      const end = start === 0 ? 9 : start + 1;
      const logits = await together.append(
        [...tokens.slice(start, end), ...others.slice(start, end)],
        end - start,
      );
      const half = logits.length / 2;
      found[0]!.push(...rowsOf(logits.slice(0, half), vocabularySize));
      found[1]!.push(...rowsOf(logits.slice(half), vocabularySize));
    }
    await expect(together.append([1, 2, 3, 4])).rejects.toThrow(RangeError);
    await together.close();
    expect(worst(found.flat(), alone)).toBeLessThan(1e-4);
  });
});

test('in any portions, a sequence has the logits of the naive forward', async () => {
  const { logProbabilities } = await referenceForward(randomSource(heterogeneous, 5), tokens);
  await withDecoder(async (decoder) => {
    const portions = fc.array(fc.integer({ min: 1, max: tokens.length }), { minLength: 1, maxLength: 8 });
    await fc.assert(
      fc.asyncProperty(portions, async (sizes) => {
        const sequence = await openSequences(decoder, contextLength);
        const found: number[][] = [];
        for (const size of [...sizes, ...tokens.map(() => 1)]) {
          const part = tokens.slice(sequence.length, sequence.length + size);
          if (part.length === 0) break;
          found.push(...rowsOf(await sequence.append(part, part.length), vocabularySize));
        }
        await sequence.close();
        expect(found.length).toBe(tokens.length);
        expect(worst(found, logProbabilities)).toBeLessThan(1e-4);
      }),
      { numRuns: 12, seed: 6 },
    );
  });
});

test('logits of the last tokens only, and no more room than was asked for', async () => {
  await withDecoder(async (decoder) => {
    const [all, last] = [await openSequences(decoder, 40), await openSequences(decoder, tokens.length)];
    const rows = rowsOf(await all.append(tokens, tokens.length), vocabularySize);
    const three = rowsOf(await last.append(tokens, 3), vocabularySize);
    expect(worst(three, rows.slice(-3))).toBeLessThan(1e-5);
    await expect(last.append([1])).rejects.toThrow(/exceed/);
    await expect(all.append([])).rejects.toThrow(/no logits/);
    await all.close();
    await last.close();
  });
});

test('the bundled teacher: token by token after a prompt in several runs = its whole forward', async () => {
  const checkpoint = await openModel('models/moby-2m');
  const model = await openExecution(checkpointSource(checkpoint), runtime);
  const tokenizer = await checkpoint.tokenizer();
  const text = 'It is not down on any map; true places never are. '.repeat(40);
  const { vocabularySize: width } = checkpoint.architecture.stream;
  const ids = Array.from(tokenizer.encode(text, 400)); // beyond the 256 of one run, and of the context
  const decoder = await openDecoder(checkpointSource(checkpoint), runtime, { contextLength: 512 });
  const sequence = await openSequences(decoder, 512);
  const found = rowsOf(await sequence.append(ids.slice(0, 390), 130), width);
  for (const id of ids.slice(390)) found.push(...rowsOf(await sequence.append([id]), width));
  expect(worst(found, await lastRows(model, ids, 140))).toBeLessThan(1e-4);
  await sequence.close();
  await closeDecoder(decoder);
  await closeExecution(model);
  await checkpoint.close();
});

async function lastRows(model: Execution, ids: readonly number[], count: number): Promise<number[][]> {
  const embedded = await embed(model, Int32Array.from(ids), { batch: 1, tokens: ids.length });
  const stream = await forward(model, embedded, { batch: 1, tokens: ids.length });
  const rows: number[][] = [];
  for (let row = ids.length - count; row < ids.length; row++)
    rows.push(Array.from(await nextTokenLogProbabilities(model, stream, row)));
  await model.runtime.release(embedded, stream);
  return rows;
}

test('several sequences of different lengths in one run', async () => {
  await withDecoder(async ({ program, cache, worker }) => {
    const lengths = [9, 6];
    const [batch, longest] = [lengths.length, Math.max(...lengths)];
    const int64 = (values: readonly number[], shape: readonly number[]) => ({
      dtype: 'int64' as const,
      shape,
      data: BigInt64Array.from(values, BigInt),
    });
    const past = cache.flatMap(({ past: names, kvHeads, headDim }) =>
      Object.values(names).map((name: string) => {
        const shape = [batch, kvHeads, longest, headDim];
        const data = new Float32Array(shape.reduce((a, b) => a * b, 1));
        return [name, { dtype: 'float32' as const, shape, data }] as const;
      }),
    );
    const padded = (of: (token: number, t: number, length: number) => number): number[] =>
      lengths.flatMap((length) => Array.from({ length: longest }, (_, t) => of(tokens[t]!, t, length)));
    const result = await runtime.run(
      program,
      {
        ...Object.fromEntries(past),
        input_ids: int64(
          padded((token, t, length) => (t < length ? token : 0)),
          [batch, longest],
        ),
        attention_mask: int64(
          padded((_, t, length) => Number(t < length)),
          [batch, longest],
        ),
        num_logits_to_keep: int64([0], []),
      },
      { worker },
    );
    const { logProbabilities } = await referenceForward(
      randomSource(heterogeneous, 5),
      tokens.slice(0, longest),
    );
    const rows = rowsOf(result['logits']!.data as Float32Array, vocabularySize);
    expect(result['logits']!.shape).toEqual([batch, longest, vocabularySize]);
    for (const [index, length] of lengths.entries()) {
      const own = rows.slice(index * longest, index * longest + length);
      expect(worst(own, logProbabilities)).toBeLessThan(1e-4);
    }
  });
});

test('a block that no fused kernel computes is named', async () => {
  const [first, ...others] = heterogeneous.slots;
  const narrow = { kind: 'gqa', heads: 4, kvHeads: 2, headDim: 8 };
  const source = randomSource({ ...heterogeneous, slots: [{ ...first!, block: narrow }, ...others] }, 1);
  await expect(openDecoder(source, runtime)).rejects.toMatchObject({
    code: 'cannot-express',
    context: { at: 'layer 0: attention', value: narrow },
  });
});

test('lengths of symbolic axes are names in the file, and no node may hold one', () => {
  const decoder = decoderGraph(heterogeneous, { dtype: 'float32', contextLength });
  expect(decoder.shapes).toMatchObject({
    input_ids: ['batch', 'sequence'],
    attention_mask: ['batch', 'total'],
    'past_key_values.3.key': ['batch', 2, 'past', 32],
    'present.1.value': ['batch', 1, 'present', 16],
    logits: ['batch', 'kept', vocabularySize],
  });
  expect(encode(decoder)).toEqual(encode(decoderGraph(heterogeneous, { dtype: 'float32', contextLength })));
  const y = symbolicGraph(['n'], ({ n }) => ({ y: add(input('x', 'float32', [n, 3]), 1) }));
  expect(y.shapes).toEqual({ x: ['n', 3], y: ['n', 3] });
  expect(() =>
    symbolicGraph(['n'], ({ n }) => ({ y: reshape(input('x', 'float32', [n, 3]), [3, n]) })),
  ).toThrow(/depends on the length/);
  expect(() => symbolicGraph(['n'], ({ n }) => ({ y: add(input('x', 'float32', [2 * n]), 1) }))).toThrow(
    /axis 0 of x is none of n/,
  );
});

test('feeds of a symbolic graph: equal names are equal lengths, and outputs have them', async () => {
  const sum = symbolicGraph(['n'], ({ n }) => ({
    y: add(input('a', 'float32', [n]), input('b', 'float32', [n])),
  }));
  const feed = (...values: number[]) => ({
    dtype: 'float32' as const,
    shape: [values.length],
    data: Float32Array.from(values),
  });
  for (const values of [[1], [2, 3, 4]]) {
    const { y } = await runtime.run(sum, { a: feed(...values), b: feed(...values) }, { keep: ['y'] });
    expect(y.shape).toEqual([values.length]);
    expect(Array.from((await runtime.download(y)).data, Number)).toEqual(values.map((value) => 2 * value));
    await runtime.release(y);
  }
  await expect(runtime.run(sum, { a: feed(1), b: feed(1, 2) })).rejects.toThrow(
    /input b is float32\[1\], not/,
  );
  expect(runtime.programs).toBeGreaterThan(0);
});

test('an output written in place into the resident that is read', async () => {
  const x = await runtime.upload({ dtype: 'float32', shape: [2], data: Float32Array.of(1, 2) });
  const doubled = graph({ y: add(input('x', 'float32', [2]), input('x', 'float32', [2])) });
  expect(await runtime.run(doubled, { x }, { into: { y: x } })).toEqual({});
  expect(Array.from((await runtime.download(x)).data, Number)).toEqual([2, 4]);
  await runtime.release(x);
});

test('a model in which nothing attends decodes too', async () => {
  const blind = {
    ...heterogeneous,
    slots: heterogeneous.slots.map((slot) =>
      slot.kind === 'attention' ? { ...slot, block: { kind: 'linear' } } : slot,
    ),
  };
  const { logProbabilities } = await referenceForward(randomSource(blind, 5), tokens);
  const decoder = await openDecoder(randomSource(blind, 5), runtime);
  const sequence = await openSequences(decoder, contextLength);
  const found = [
    ...rowsOf(await sequence.append(tokens.slice(0, 9), 9), vocabularySize),
    ...rowsOf(await sequence.append(tokens.slice(9), tokens.length - 9), vocabularySize),
  ];
  await sequence.close();
  await closeDecoder(decoder);
  expect(worst(found, logProbabilities)).toBeLessThan(1e-4);
});
