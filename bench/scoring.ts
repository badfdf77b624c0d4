/**
 * Replace-one-block scores of SmolLM2-135M, here and in PyTorch, slot by slot in turn in one run:
 * `npx tsx bench/scoring.ts` writes bench/results/scoring.{json,md}. Needs `python3` with PyTorch and safetensors, and
 * the model and text of ../shared. Both sides get the same blocks (the paper's initialisation) and the same tokens, and
 * must find the same KL.
 */
import { spawn } from 'node:child_process';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { availableParallelism, tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { blockOf, sameBlock, type Weights } from '../src/blocks/index.ts';
import { closeExecution, openExecution, type WeightSource } from '../src/execution/index.ts';
import { paperInitialisation } from '../src/library/index.ts';
import { cutWindows, openModel, readTokens, type BlockConfig } from '../src/model/index.ts';
import { openRuntime } from '../src/runtime/index.ts';
import { scoreReplacements } from '../src/score/index.ts';
import { inMemory, writeSafetensors, type Tensor } from '../src/tensor/index.ts';
import { writeFileAtomically } from '../src/util/atomic-file.ts';
import { machine } from './machine.ts';

const modelPath = '../shared/models/SmolLM2-135M-Instruct.Q4_1.gguf';
const textPath = '../shared/data/textbooks-validation.txt';
const [window, count] = [256, 6];
/** The middle one: as far from the end as all 30 layers are on average, within half a layer. */
const layers = [14];
/** Alternatives that are not the teacher's own, of all 30 layers. */
const libraryBlocks = 270;
const threads = availableParallelism();

interface Candidate {
  readonly slot: number;
  readonly config: BlockConfig;
  readonly weights: Weights<Tensor<'float32'>>;
}

interface Row {
  readonly slot: number;
  readonly blocks: number;
  /** Seconds for all blocks of the slot. */
  readonly puzzle: number;
  readonly torch: number;
}

async function main(): Promise<void> {
  const checkpoint = await openModel(modelPath);
  const { architecture } = checkpoint;
  const source = {
    architecture,
    streamWeight: async (name: 'embedding' | 'norm' | 'head') => {
      if (name === 'norm') return checkpoint.finalNorm();
      return name === 'head' ? checkpoint.head() : checkpoint.embedding();
    },
    blockWeights: (slot: number) => checkpoint.slotWeights(slot),
  };
  const ids = await readTokens([textPath], await checkpoint.tokenizer(), window * count);
  const text = cutWindows(ids, window, count, textPath);
  const paper = paperInitialisation(source, async () => new Float32Array(1536).fill(1));
  const candidates: Candidate[] = [];
  for (const [slot, { layer, kind, block }] of architecture.slots.entries()) {
    if (!layers.includes(layer)) continue;
    const changed: BlockConfig[] =
      kind === 'attention'
        ? [{ ...block, kvHeads: 1 }]
        : [1152, 768, 384, 192].map((width) => ({ ...block, width }));
    for (const config of [...changed, { kind: 'linear' }, { kind: 'no-op' }])
      candidates.push({
        slot,
        config,
        weights: blockOf(config).output === undefined ? {} : await paper(slot, config),
      });
  }

  const folder = await mkdtemp(join(tmpdir(), 'puzzle-scoring-'));
  try {
    await writeForTorch(folder, source, text.ids, candidates);
    const runtime = await openRuntime({ device: 'cpu', threads });
    const teacher = await openExecution(source, runtime);
    const torch = await torchScores(folder);
    const weightsOf = (slot: number, config: BlockConfig): Weights<Tensor<'float32'>> =>
      candidates.find((candidate) => candidate.slot === slot && sameBlock(candidate.config, config))!.weights;
    const slots = scoreReplacements({
      teacher,
      alternatives: architecture.slots.map((_, slot) =>
        candidates.flatMap((candidate) => (candidate.slot === slot ? [candidate.config] : [])),
      ),
      finished: new Set(
        architecture.slots.map((_, slot) => slot).filter((slot) => !candidates.some((c) => c.slot === slot)),
      ),
      text,
      weights: async (slot, config) =>
        Object.fromEntries(
          Object.entries(weightsOf(slot, config)).map(([name, w]) => [name, { ...w, data: w.data.slice() }]),
        ),
    });
    const rows: Row[] = [];
    let index = 0;
    for (;;) {
      // Ours is charged with all it does: the teacher's own pass and compiling at first, then the way to each slot.
      const started = performance.now();
      const next = await slots.next();
      if (next.done === true) break;
      const seconds = (performance.now() - started) / 1000;
      const { slot, scores } = next.value;
      let torchSeconds = 0;
      for (const { config, kl: perWindow } of scores) {
        const kl = perWindow.reduce((sum, value) => sum + value, 0) / count;
        const peer = await torch.score(index++);
        torchSeconds += peer.seconds;
        // Float32 on both sides: logits of 30 leave 1e-4.
        if (!(Math.abs(kl - peer.kl) < 1e-3 * (1 + kl)))
          throw new Error(
            `slot ${slot} ${blockOf(config).label(config)}: KL ${kl}, PyTorch finds ${peer.kl}`,
          );
      }
      rows.push({ slot, blocks: scores.length, puzzle: seconds, torch: torchSeconds });
      console.log(
        `slot ${slot}, ${scores.length} blocks: ${seconds.toFixed(2)} s, PyTorch ${torchSeconds.toFixed(2)} s`,
      );
    }
    torch.close();
    await closeExecution(teacher);
    await runtime.close();
    await report(rows, torch.version);
  } finally {
    await rm(folder, { recursive: true });
    await checkpoint.close();
  }
}

/** Everything as safetensors: PyTorch reads what we run. */
async function writeForTorch(
  folder: string,
  source: WeightSource,
  ids: Int32Array,
  candidates: readonly Candidate[],
): Promise<void> {
  const { stream, slots } = source.architecture;
  const tensors: [string, Tensor<'float32'>][] = [
    ['stream.embedding', await source.streamWeight('embedding')],
    ['stream.norm', await source.streamWeight('norm')],
  ];
  const named = (prefix: string, weights: Weights<Tensor<'float32'>>): void =>
    void tensors.push(
      ...Object.entries(weights).map(([name, w]): [string, Tensor<'float32'>] => [`${prefix}.${name}`, w]),
    );
  for (const slot of slots.keys()) named(`slot.${slot}`, await source.blockWeights(slot));
  candidates.forEach(({ weights }, index) => named(`candidate.${index}`, weights));
  await writeSafetensors(
    join(folder, 'weights.safetensors'),
    tensors.map(([name, tensor]) => inMemory(name, tensor)),
  );
  const model = {
    windows: count,
    window,
    ids: [...ids],
    headDim: slots[0]!.block['headDim'],
    ropeTheta: stream.ropeTheta,
    normEpsilon: stream.normEpsilon,
    slots: slots.map(({ block }) => block.kind),
    candidates: candidates.map(({ slot, config }) => ({ slot, kind: config.kind })),
  };
  await writeFile(join(folder, 'model.json'), JSON.stringify(model));
}

/** PyTorch in a process of its own, which waits while it is not asked. */
async function torchScores(folder: string) {
  const child = spawn('python3', ['bench/peers/score_suffix.py', folder, String(threads)], {
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
    async score(index: number): Promise<{ seconds: number; kl: number }> {
      child.stdin.write(`${index}\n`);
      const [seconds, kl] = (await answer()).split(' ').map(Number) as [number, number];
      return { seconds, kl };
    },
    close: () => child.stdin.end(),
  };
}

async function report(rows: readonly Row[], torchVersion: string): Promise<void> {
  const sum = (of: (row: Row) => number): number => rows.reduce((total, row) => total + of(row), 0);
  const blocks = sum((row) => row.blocks);
  const perBlock = { puzzle: sum((row) => row.puzzle) / blocks, torch: sum((row) => row.torch) / blocks };
  const ratio = perBlock.torch / perBlock.puzzle;
  const where = machine();
  const result = {
    what: 'seconds per replace-one score, SmolLM2-135M, 6 windows of 256 tokens',
    machine: { ...where, pytorch: torchVersion },
    layers,
    secondsPerBlock: perBlock,
    ratio,
    rows,
  };
  await writeFileAtomically('bench/results/scoring.json', `${JSON.stringify(result, null, 2)}\n`);
  const table = rows.map(
    (row) => `| ${row.slot} | ${row.blocks} | ${row.puzzle.toFixed(2)} | ${row.torch.toFixed(2)} |`,
  );
  const whole = (seconds: number): string => (seconds * libraryBlocks).toFixed(0);
  await writeFileAtomically(
    'bench/results/scoring.md',
    `# Replace-one-block scores against PyTorch

\`npx tsx bench/scoring.ts\`: SmolLM2-135M, ${count} windows of ${window} tokens, the ${blocks} alternatives of layer ${layers.join(', ')}; the same blocks and tokens on both sides, which agree on every KL; slot by slot in turn in one run.
${where.cpu}, ${where.cores} cores, Node ${where.node}, onnxruntime-node ${where.onnxRuntime}, PyTorch ${torchVersion}, commit ${where.commit}, ${where.date}.

| | puzzle | PyTorch | ratio |
|---|---|---|---|
| seconds a block | ${perBlock.puzzle.toFixed(2)} | ${perBlock.torch.toFixed(2)} | ${ratio.toFixed(2)} |
| ${libraryBlocks} blocks at that rate, seconds | ${whole(perBlock.puzzle)} | ${whole(perBlock.torch)} | |

Ours includes the teacher's own pass, compiling, and the way from slot to slot; PyTorch's does not.

| slot | blocks | puzzle, s | PyTorch, s |
|---|---|---|---|
${table.join('\n')}
`,
  );
}

await main();
