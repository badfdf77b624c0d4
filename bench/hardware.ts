/**
 * Accuracy and speed of the cost model: held-out errors of every calibrated kernel (cross-validated over shapes when
 * the profile was built, `puzzle calibrate`), exactness of counts, time of an estimate of 162 layers and of a cost table of
 * 80 x 54 x 12.
 * Writes bench/results/hardware.json and hardware.md. Run: npx tsx bench/hardware.ts
 */
import { existsSync, writeFileSync } from 'node:fs';
import {
  blockShape,
  costTable,
  estimate,
  loadProfile,
  profileNames,
  workload,
} from '../src/hardware/index.ts';
import type { BlockShape } from '../src/hardware/index.ts';
import { readArchitecture } from '../src/model/index.ts';
import type { Architecture, BlockConfig, StreamConfig } from '../src/model/index.ts';
import { machine as machineOf } from './machine.ts';

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

/** The issue's bars: median and 90th percentile of the absolute error. */
const bars = { gemm: [0.03, 0.1], prefill: [0.04, 0.12], decode: [0.07, 0.25] } as const;

/** Of one operator in one profile: kernels weighted by their rows, and the worst kernel. */
const summary = profileNames().flatMap((profile) =>
  (['gemm', 'prefill', 'decode'] as const).flatMap((op) => {
    const kernels = accuracy.filter((row) => row.profile === profile && row.kernel.startsWith(op));
    if (kernels.length === 0) return [];
    const rows = kernels.reduce((sum, row) => sum + row.rows, 0);
    const mean = (pick: (row: (typeof kernels)[0]) => number): number =>
      kernels.reduce((sum, row) => sum + pick(row) * row.rows, 0) / rows;
    const [median, p90] = bars[op];
    return [
      {
        profile,
        op,
        kernels: kernels.length,
        rows,
        medianError: mean((row) => row.medianError),
        p90Error: mean((row) => row.p90Error),
        coverage: mean((row) => row.coverage),
        kernelsWithinBars: kernels.filter((row) => row.medianError <= median && row.p90Error <= p90).length,
      },
    ];
  }),
);

/** Published counts (../shared/architectures/README.md, ../shared/facts/puzzle.md). */
const nemotron = '../shared/architectures/nemotron-super-49b-v1.config.json';
const counts = [
  ...(existsSync(nemotron)
    ? [
        {
          model: 'Llama-3_3-Nemotron-Super-49B-v1',
          architecture: readArchitecture(nemotron),
          parameters: 49_867_145_216,
          kvBytesPerToken: 100_352,
        },
      ]
    : []),
  ...[
    { model: 'Llama-3.1-8B', hidden: 4096, layers: 32, heads: 32, width: 14336, parameters: 8_030_261_248 },
    { model: 'Llama-3.1-70B', hidden: 8192, layers: 80, heads: 64, width: 28672, parameters: 70_553_706_496 },
  ].map(({ model, hidden, layers, heads, width, parameters }) => ({
    model,
    architecture: {
      stream: { ...stream, hidden },
      slots: Array.from({ length: layers }, (_, layer) => [
        { layer, kind: 'attention', block: { kind: 'gqa', heads, kvHeads: 8, headDim: 128 } } as const,
        { layer, kind: 'ffn', block: { kind: 'swiglu', width } } as const,
      ]).flat(),
    },
    parameters,
    kvBytesPerToken: layers * 2 * 8 * 128,
  })),
].map(({ model, architecture, parameters, kvBytesPerToken }) => {
  const found = estimate(architecture, workload({ kv: 'fp8' }), h100);
  return {
    model,
    parameters: found.parameters,
    kvBytesPerToken: found.kvBytesPerToken,
    exact: found.parameters === parameters && found.kvBytesPerToken === kvBytesPerToken,
  };
});

const machine = machineOf();
writeFileSync(
  'bench/results/hardware.json',
  `${JSON.stringify({ machine, speed, counts, summary, accuracy }, undefined, 1)}\n`,
);
const percent = (share: number): string => `${(100 * share).toFixed(1)} %`;
const text = `# Cost model

${machine.cpu}, ${machine.cores} cores, Node ${machine.node}, commit ${machine.commit}. Written by \`npx tsx bench/hardware.ts\`.

Estimate of 162 layers: ${speed.estimate162LayersMs.toFixed(2)} ms. Cost table 80 x 54 x 12 batches: ${speed.costTable80x54x12Ms.toFixed(1)} ms.

Parameters and KV bytes per token (fp8): ${counts.map(({ model, parameters, kvBytesPerToken, exact }) => `${model} ${parameters} and ${kvBytesPerToken}, ${exact ? 'exact' : 'WRONG'}`).join('; ')}.

Errors on held-out shapes, 6-fold over (n, k) or (heads, KV heads, head dim): all m, lengths, batches, and small shapes
(n, k below 512) included. Coverage: share of each fold's rows within the 90 % bands that the other folds give.

## By operator

Means over kernels, weighted by rows. Bars: gemm 3 / 10 %, prefill 4 / 12 %, decode 7 / 25 %.

| profile | operator | rows | median | p90 | within 90 % band | kernels within the bars |
|---|---|---|---|---|---|---|
${summary.map((a) => `| ${a.profile} | ${a.op} | ${a.rows} | ${percent(a.medianError)} | ${percent(a.p90Error)} | ${percent(a.coverage)} | ${a.kernelsWithinBars} of ${a.kernels} |`).join('\n')}

## By kernel

| profile | kernel | shapes | rows | median | p90 | within 90 % band |
|---|---|---|---|---|---|---|
${accuracy.map((a) => `| ${a.profile} | ${a.kernel} | ${a.shapes} | ${a.rows} | ${percent(a.medianError)} | ${percent(a.p90Error)} | ${percent(a.coverage)} |`).join('\n')}
`;
writeFileSync('bench/results/hardware.md', text);
console.log(text);
