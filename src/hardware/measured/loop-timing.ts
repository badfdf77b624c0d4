/** Times a part inside a loop on the device: the difference of two lengths leaves out launch and transfers. */
import { blockOf, rmsNorm, rotationTables, whole, type ServingContext } from '../../blocks/index.ts';
import {
  add,
  constant,
  fused,
  gemm,
  graph,
  input,
  loop,
  mul,
  result,
  slice,
  type Graph,
  type Value,
} from '../../graph/index.ts';
import type { BlockConfig, StreamConfig } from '../../model/index.ts';
import type { Resident, Runtime } from '../../runtime/index.ts';
import type { Shape } from '../../tensor/tensor.ts';
import { noiseTensors } from './random-decoder.ts';
import { repeated, type Timed, type Timing } from './timed.ts';

/** A repeat lasts at least this long, so that the clock and the scheduler matter little. */
const leastRepeatMs = 40;

export async function timeInLoop(timed: Timed, stream: StreamConfig, runtime: Runtime): Promise<Timing> {
  const noise = noiseTensors();
  const feeds: Record<string, Resident> = {};
  try {
    for (const [name, shape] of Object.entries(partInputs(timed, stream)))
      feeds[name] = await runtime.upload(noise(shape));
    const run = async (program: Graph): Promise<number> => {
      const start = performance.now();
      await runtime.release((await runtime.run(program, feeds, { keep: ['after'] })).after);
      return performance.now() - start;
    };
    const short = loopGraph(timed, stream, 1);
    await run(short); // compiles
    const roughMs = Math.max(1e-3, Math.min(await run(short), await run(short)));
    const steps = 1 + Math.max(1, Math.ceil(leastRepeatMs / roughMs));
    const long = loopGraph(timed, stream, steps);
    await run(long);
    return await repeated(async () => [await run(long), await run(short)], steps - 1);
  } finally {
    await runtime.release(...Object.values(feeds));
  }
}

const extents = (timed: Extract<Timed, { part: 'block' }>): { tokens: number; length: number } =>
  timed.phase === 'prefill' ? { tokens: timed.tokens, length: 0 } : { tokens: 1, length: timed.length };

function partInputs(timed: Timed, stream: StreamConfig): Readonly<Record<string, Shape>> {
  const { hidden, vocabularySize } = stream;
  if (timed.part === 'head')
    return { x: [timed.batch, hidden], norm: [hidden], head: [vocabularySize, hidden] };
  const { config, batch } = timed;
  const { tokens, length } = extents(timed);
  const block = blockOf(config);
  const weights = Object.entries(block.weights(config, stream)).map(
    ([name, shape]) => [`weight.${name}`, shape] as const,
  );
  const cache = block.servingCacheShape?.(config, batch, length + tokens);
  return {
    x: [batch * tokens, hidden],
    ...Object.fromEntries(weights),
    ...(cache && { keys: cache, values: cache }),
  };
}

function loopGraph(timed: Timed, stream: StreamConfig, steps: number): Graph {
  const inputs = Object.fromEntries(
    Object.entries(partInputs(timed, stream)).map(([name, shape]) => [name, input(name, 'float32', shape)]),
  );
  const pass = timed.part === 'head' ? headPass(stream, inputs) : blockPass(timed, stream, inputs);
  const { state } = loop(steps, { x: inputs.x!, delta: inputs.x! }, (_, before) => ({
    state: pass(before.x, before.delta),
    collected: {},
  }));
  return graph({ after: add(state.x, state.delta) });
}

type Pass = (x: Value, delta: Value) => { readonly x: Value; readonly delta: Value };

const headPass =
  (stream: StreamConfig, { norm, head }: Readonly<Record<string, Value>>): Pass =>
  (x) => {
    const logits = gemm(rmsNorm(x, norm!, stream.normEpsilon), head!, { transposeB: true });
    // The next pass must wait for this one: a trace of its logits goes on.
    const next = add(x, mul(slice(logits, 1, 0, 1), 1e-6));
    return { x: next, delta: next };
  };

/** The stream (rows, hidden) and what the block before adds to it, to the same after this block. */
function blockPass(
  timed: Extract<Timed, { part: 'block' }>,
  stream: StreamConfig,
  inputs: Readonly<Record<string, Value>>,
): Pass {
  const { config, batch } = timed;
  const { tokens, length } = extents(timed);
  const block = blockOf(config);
  const names = Object.keys(block.weights(config, stream));
  const weights = Object.fromEntries(names.map((name) => [name, inputs[`weight.${name}`]!]));
  const total = length + tokens;
  const context: ServingContext<BlockConfig> = {
    config,
    stream,
    batch,
    tokens,
    present: total,
    rows: whole([batch, tokens]),
    last: constant({ dtype: 'int32', shape: [batch], data: new Int32Array(batch).fill(total - 1) }),
    total: constant({ dtype: 'int32', shape: [1], data: Int32Array.of(total) }),
    rotation: (headDim) => {
      const { cos, sin } = rotationTables(headDim, total, stream);
      return { cos: constant(cos), sin: constant(sin) };
    },
  };
  return (x, delta) => {
    const type = { dtype: x.dtype, shape: x.shape };
    const both = fused(
      'com.microsoft',
      'SkipSimplifiedLayerNormalization',
      [x, delta, weights['norm']!],
      { epsilon: { float: stream.normEpsilon } },
      [type, undefined, undefined, type],
    );
    const normed = result(both, 0);
    const features =
      block.serve === undefined
        ? block.features(normed, weights, context)!
        : block.serve(normed, weights, { keys: inputs['keys']!, values: inputs['values']! }, context)
            .features;
    return { x: result(both, 3), delta: gemm(features, weights[block.output!]!, { transposeB: true }) };
  };
}
