/**
 * Blockwise distillation steps of a SwiGLU FFN, here and in PyTorch, turn by turn in one run:
 * `npx tsx bench/bld-step.ts` writes bench/results/bld-step.{json,md}. Needs `python3` with PyTorch.
 */
import { spawn } from 'node:child_process';
import { availableParallelism, loadavg } from 'node:os';
import { createInterface } from 'node:readline';
import { div, gemm, mul, reduceSum, silu, square, sub, trainingLoop } from '../src/graph/index.ts';
import { openRuntime, type Resident } from '../src/runtime/index.ts';
import { elementCount, float32, type Shape, type Tensor } from '../src/tensor/index.ts';
import { writeFileAtomically } from '../src/util/atomic-file.ts';
import { seededRandom } from '../src/util/random.ts';
import { machine } from './machine.ts';

const [tokens, hidden, width] = [1024, 576, 768];
const stepsPerCall = 10;
const rounds = 12;
const threads = availableParallelism();
const peers = ['eager', 'fused', 'compiled'] as const;

/** Products of one step: gate, up and down forward; their three weights and the features backward. */
const gflopPerStep = (7 * 2 * tokens * hidden * width) / 1e9;

const parameters: Readonly<Record<string, Shape>> = {
  gate: [width, hidden],
  up: [width, hidden],
  down: [hidden, width],
};
const stream = { dtype: 'float32', shape: [tokens, hidden] } as const;

const training = trainingLoop({
  parameters,
  data: { x: stream, y: stream },
  steps: stepsPerCall,
  loss: ({ gate, up, down }, { x, y }) => {
    const features = mul(silu(gemm(x!, gate!, { transposeB: true })), gemm(x!, up!, { transposeB: true }));
    const error = sub(gemm(features, down!, { transposeB: true }), y!);
    return div(reduceSum(square(error)), reduceSum(square(y!)));
  },
});

const scalars = {
  learningRate: 1e-3,
  warmupSteps: 0,
  totalSteps: 10_000,
  finalFraction: 0,
  weightDecay: 0.1,
  clipNorm: 1,
};

/** A function that takes `stepsPerCall` steps and says how many milliseconds each took; the state stays resident. */
async function ourSteps(): Promise<{ run: () => Promise<number>; close: () => Promise<void> }> {
  const random = seededRandom(1);
  const filled = (shape: Shape, draw: () => number): Tensor =>
    float32(Float32Array.from({ length: elementCount(shape) }, draw), shape);
  const runtime = await openRuntime({ device: 'cpu', threads });
  const fixed: Record<string, Resident> = {};
  for (const [name, value] of Object.entries(scalars))
    fixed[name] = await runtime.upload(filled([], () => value));
  for (const name of ['data.x', 'data.y']) {
    fixed[name] = await runtime.upload(filled([stepsPerCall, ...stream.shape], random.normal));
  }
  let state: Record<string, Resident> = { step: await runtime.upload(filled([], () => 0)) };
  for (const [name, shape] of Object.entries(parameters)) {
    state[`parameter.${name}`] = await runtime.upload(filled(shape, () => random.normal() * 0.04));
    for (const part of ['mean', 'square'])
      state[`${part}.${name}`] = await runtime.upload(filled(shape, () => 0));
  }
  const names = Object.keys(state);
  return {
    run: async () => {
      const started = performance.now();
      const outputs = await runtime.run(
        training,
        { ...fixed, ...state },
        { keep: names.map((name) => `next.${name}`) },
      );
      const milliseconds = (performance.now() - started) / stepsPerCall;
      await runtime.release(...Object.values(state));
      state = Object.fromEntries(names.map((name) => [name, outputs[`next.${name}`]!]));
      return milliseconds;
    },
    close: async () => runtime.close(),
  };
}

/** PyTorch in a process of its own, which waits while it is not asked. */
async function torchSteps(): Promise<{
  version: string;
  run: (mode: string) => Promise<number>;
  close: () => void;
}> {
  const shape = [tokens, hidden, width, stepsPerCall, threads].map(String);
  const child = spawn('python3', ['bench/peers/bld_step.py', ...shape], {
    stdio: ['pipe', 'pipe', 'inherit'],
  });
  const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]();
  const answer = async (): Promise<string> => {
    const line = await lines.next();
    if (line.done === true) throw new Error('PyTorch ended early');
    return line.value;
  };
  const version = await answer();
  return {
    version,
    run: async (mode) => {
      child.stdin.write(`${mode}\n`);
      return Number(await answer());
    },
    close: () => child.stdin.end(),
  };
}

const minimum = (values: readonly number[]): number => Math.min(...values);

async function main(): Promise<void> {
  const [ours, torch] = [await ourSteps(), await torchSteps()];
  await ours.run();
  for (const mode of peers) await torch.run(mode);
  const timings: Record<string, number[]> = {
    puzzle: [],
    ...Object.fromEntries(peers.map((mode) => [mode, []])),
  };
  for (let round = 0; round < rounds; round++) {
    timings['puzzle']!.push(await ours.run());
    for (const mode of peers) timings[mode]!.push(await torch.run(mode));
  }
  torch.close();
  await ours.close();

  const best = Object.fromEntries(Object.entries(timings).map(([name, values]) => [name, minimum(values)]));
  const bestPeer = minimum(peers.map((mode) => best[mode]!));
  const result = {
    schema: 'puzzle/bench-bld-step@1',
    machine: { ...machine(), torch: torch.version, threads, loadAverage: Math.round(loadavg()[1]!) },
    shape: { tokens, hidden, width, dtype: 'float32', gflopPerStep },
    millisecondsPerStep: best,
    speedup: bestPeer / best['puzzle']!,
    rounds: timings,
  };
  await writeFileAtomically('bench/results/bld-step.json', `${JSON.stringify(result, null, 2)}\n`);
  await writeFileAtomically('bench/results/bld-step.md', table(result));
  console.log(table(result));
}

interface Result {
  readonly machine: ReturnType<typeof machine> & {
    readonly torch: string;
    readonly threads: number;
    readonly loadAverage: number;
  };
  readonly millisecondsPerStep: Readonly<Record<string, number>>;
  readonly speedup: number;
}

function table({ machine: on, millisecondsPerStep, speedup }: Result): string {
  const row = (label: string, name: string): string => {
    const milliseconds = millisecondsPerStep[name]!;
    return `| ${label} | ${milliseconds.toFixed(1)} | ${((gflopPerStep / milliseconds) * 1000).toFixed(0)} |`;
  };
  return `# Blockwise distillation step, against PyTorch

A SwiGLU FFN (${hidden} -> ${width}) on ${tokens} tokens, fp32: forward, backward, gradient clipping, AdamW, cosine schedule.
Turn by turn in one run, ${stepsPerCall} steps a turn, best of ${rounds} turns.

| | ms per step | GFLOP/s of the seven products |
|---|---|---|
${row('Puzzle (one ONNX loop)', 'puzzle')}
${row(`PyTorch ${on.torch}, eager, foreach AdamW`, 'eager')}
${row('PyTorch, fused AdamW', 'fused')}
${row('PyTorch, compiled, fused AdamW', 'compiled')}

**${speedup.toFixed(2)} x** the speed of PyTorch's best.

${on.cpu}, ${on.threads} threads on both sides; Node ${on.node}, ONNX Runtime ${on.onnxRuntime}; commit ${on.commit}, ${on.date}.
The load average over the last five minutes was ${on.loadAverage} on ${on.cores} cores (${on.threads} is this run alone; where it is more, others
used the machine, and only the ratio means something).
`;
}

await main();
