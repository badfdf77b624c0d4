/**
 * Accuracy and speed of the cost model: held-out errors of every calibrated kernel (cross-validated over shapes when
 * the profile was built, `puzzle calibrate`), time of an estimate of 162 layers and of a cost table of 80 x 54 x 12.
 * Writes bench/results/hardware.json and hardware.md. Run: npx tsx bench/hardware.ts
 */
import { execFileSync } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { cpus } from 'node:os';
import {
  blockShape,
  costTable,
  estimate,
  loadProfile,
  profileNames,
  workload,
} from '../src/hardware/index.ts';
import type { BlockShape } from '../src/hardware/index.ts';
import type { Architecture, BlockConfig, StreamConfig } from '../src/model/index.ts';

const stream: StreamConfig = {
  family: 'llama',
  vocabularySize: 128256,
  hidden: 8192,
  normEpsilon: 1e-5,
  ropeTheta: 5e5,
  tiedEmbeddings: false,
  contextLength: 131072,
};
const attentions: readonly BlockConfig[] = [
  ...[8, 4, 2, 1].map((kvHeads) => ({ kind: 'gqa', heads: 64, kvHeads, headDim: 128 })),
  { kind: 'linear' },
  { kind: 'no-op' },
];
const ffns: readonly BlockConfig[] = [
  ...[28672, 25088, 21504, 14336, 7168, 5632, 2816].map((width) => ({ kind: 'swiglu', width })),
  { kind: 'linear' },
  { kind: 'no-op' },
];

const shapeOf = (config: BlockConfig): BlockShape => blockShape(config, stream);

function leastMs(repeats: number, run: () => void): number {
  let least = Infinity;
  for (let i = 0; i < repeats; i++) {
    const start = performance.now();
    run();
    least = Math.min(least, performance.now() - start);
  }
  return least;
}

const h100 = loadProfile('h100-sxm');
const deep: Architecture = {
  stream,
  slots: Array.from({ length: 162 }, (_, layer) => [
    { layer, kind: 'attention', block: attentions[layer % attentions.length]! } as const,
    { layer, kind: 'ffn', block: ffns[layer % ffns.length]! } as const,
  ]).flat(),
};
const pairs = attentions.flatMap((attention) =>
  ffns.map((ffn): BlockShape => {
    const [a, f] = [shapeOf(attention), shapeOf(ffn)];
    return {
      weights: [...a.weights, ...f.weights],
      kvElementsPerToken: a.kvElementsPerToken,
      operators: [...a.operators, ...f.operators],
    };
  }),
);
const groups = Array.from({ length: 80 }, () => pairs);
const batches = Array.from({ length: 12 }, (_, i) => 2 ** i);
const speed = {
  estimate162LayersMs: leastMs(20, () =>
    estimate(deep, workload({ batch: 16, weights: 'fp8', kv: 'fp8' }), h100),
  ),
  costTable80x54x12Ms: leastMs(5, () => {
    for (const batch of batches) costTable(stream, groups, workload({ batch, weights: 'fp8' }), h100);
  }),
};

const accuracy = profileNames().flatMap((name) => {
  const profile = loadProfile(name);
  const kernels = [
    ...profile.gemm.map(({ kind, model }) => ({ kernel: `gemm ${kind}`, model })),
    ...(['prefill', 'decode'] as const).flatMap((phase) =>
      profile[phase].map(({ format, kv, headDim, window, model }) => ({
        kernel: `${phase} ${format}/${kv} head ${headDim}${window === undefined ? '' : ` window ${window}`}`,
        model,
      })),
    ),
  ];
  return kernels.flatMap(({ kernel, model: { heldOut } }) =>
    heldOut === undefined ? [] : [{ profile: name, stack: profile.stack, kernel, ...heldOut }],
  );
});

const commit = execFileSync('git', ['rev-parse', '--short', 'HEAD'], { encoding: 'utf8' }).trim();
const machine = { cpu: cpus()[0]!.model, cores: cpus().length, node: process.version, commit };
writeFileSync(
  'bench/results/hardware.json',
  `${JSON.stringify({ machine, speed, accuracy }, undefined, 1)}\n`,
);
const percent = (share: number): string => `${(100 * share).toFixed(1)} %`;
const text = `# Cost model

${machine.cpu}, ${machine.cores} cores, Node ${machine.node}, commit ${machine.commit}. Written by \`npx tsx bench/hardware.ts\`.

Estimate of 162 layers: ${speed.estimate162LayersMs.toFixed(2)} ms. Cost table 80 x 54 x 12 batches: ${speed.costTable80x54x12Ms.toFixed(1)} ms.

Errors on held-out shapes, 6-fold over (n, k) or (heads, KV heads, head dim), all m / lengths / batches and small shapes included.

| profile | kernel | shapes | rows | median | p90 | within 90 % band |
|---|---|---|---|---|---|---|
${accuracy.map((a) => `| ${a.profile} | ${a.kernel} | ${a.shapes} | ${a.rows} | ${percent(a.medianError)} | ${percent(a.p90Error)} | ${percent(a.coverage)} |`).join('\n')}
`;
writeFileSync('bench/results/hardware.md', text);
console.log(text);
