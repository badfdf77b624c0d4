/** One token after a cache gives what the last token of the whole sequence gives. */
import { afterAll, beforeAll, expect, test } from 'vitest';
import { blockDecode, blockForward, blockOf, rmsNorm } from '../../src/blocks/index.ts';
import { rotate } from '../../src/blocks/rope.ts';
import { gemm, graph, input, reshape, slice, transpose, type Value } from '../../src/graph/index.ts';
import type { BlockConfig } from '../../src/model/index.ts';
import { openRuntime, type Runtime } from '../../src/runtime/index.ts';
import { randomStream, randomWeights } from './samples.ts';

let runtime: Runtime;
beforeAll(async () => {
  runtime = await openRuntime({ device: 'cpu', threads: 1 });
});
afterAll(() => runtime.close());

const stream = {
  family: 'llama',
  vocabularySize: 32,
  hidden: 16,
  normEpsilon: 1e-5,
  ropeTheta: 1e4,
  tiedEmbeddings: true,
  contextLength: 64,
};
const [batch, tokens] = [2, 7];

const configs: readonly BlockConfig[] = [
  { kind: 'gqa', heads: 4, kvHeads: 2, headDim: 8 },
  { kind: 'gqa', heads: 4, kvHeads: 1, headDim: 8 },
  { kind: 'gqa', heads: 3, kvHeads: 3, headDim: 8 },
  { kind: 'swiglu', width: 12 },
  { kind: 'low-rank', rank: 5 },
  { kind: 'linear' },
];

test.each(configs)('decode of %j', async (config) => {
  const block = blockOf(config);
  const x = input('x', 'float32', [batch * tokens, stream.hidden]);
  const shapes = block.weights(config, stream);
  const weights = Object.fromEntries(
    Object.entries(shapes).map(([name, shape]) => [name, input(`weight.${name}`, 'float32', shape)]),
  );
  const lastOf = (rows: Value): Value =>
    reshape(slice(reshape(rows, [batch, tokens, stream.hidden]), 1, tokens - 1, tokens), [
      batch,
      stream.hidden,
    ]);
  const length = tokens - 1;
  const cache = block.cacheShapes && {
    keys: transpose(cached(x, weights.norm!, weights.k!, config, true), [0, 2, 3, 1]), // (batch, kvHeads, d, length)
    values: transpose(cached(x, weights.norm!, weights.v!, config, false), [0, 2, 1, 3]),
  };
  if (cache)
    expect([cache.keys.shape, cache.values.shape]).toEqual(
      Object.values(block.cacheShapes!(config, batch, length)),
    );
  const whole = lastOf(blockForward(x, weights, { config, stream, batch, tokens }).stream);
  const single = blockDecode(lastOf(x), weights, cache, { config, stream, batch, length });
  const feeds = Object.entries(randomWeights(config, stream, 3)).map(([name, tensor]) => [
    `weight.${name}`,
    tensor,
  ]);
  const result = await runtime.run(graph({ whole, single }), {
    x: randomStream({ slot: 'ffn', teacher: config, config, stream, batch, tokens, seed: 5 }),
    ...Object.fromEntries(feeds),
  });
  const [expected, got] = [result.whole!, result.single!].map(({ data }) => Array.from(data, Number));
  const difference = expected!.map((value, i) => Math.abs(value - got![i]!));
  expect(Math.max(...difference)).toBeLessThan(1e-5);
});

/** Keys or values of all tokens but the last: (batch, length, kvHeads, headDim). */
function cached(x: Value, norm: Value, matrix: Value, config: BlockConfig, isKey: boolean): Value {
  const flat = gemm(rmsNorm(x, norm, stream.normEpsilon), matrix, { transposeB: true });
  const heads = reshape(flat, [batch, tokens, Number(config.kvHeads), Number(config.headDim)]);
  return slice(isKey ? rotate(heads, stream) : heads, 1, 0, tokens - 1);
}
