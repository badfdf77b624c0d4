import { afterAll, beforeAll, expect, test } from 'vitest';
import { openExecution, type WeightSource } from '../../src/execution/index.ts';
import { buildLibrary, type BlockRecord } from '../../src/library/index.ts';
import { addProduct, cholesky, leadingSubspace, matrix, solve } from '../../src/algebra/index.ts';
import type { TokenWindows } from '../../src/model/index.ts';
import { openRuntime, type Runtime } from '../../src/runtime/index.ts';
import { seededRandom } from '../../src/util/random.ts';
import { uniformArchitecture } from '../blocks/architectures.ts';
import { randomSource } from '../execution/small-model.ts';

const [heads, kvHeads, headDim, hidden] = [4, 4, 6, 24];
const attention = { kind: 'gqa', heads, kvHeads, headDim };

let runtime: Runtime;
beforeAll(async () => (runtime = await openRuntime({ device: 'cpu', threads: 1 })));
afterAll(async () => runtime.close());

/** A teacher whose KV heads 2g + 1 are heads 2g in disguise: keys turned pair by pair, values mixed. */
function disguised(bias: boolean): WeightSource {
  const block = { ...attention, ...(bias && { qkvBias: true }) };
  const architecture = uniformArchitecture({
    layers: 1,
    hidden,
    vocabularySize: 50,
    attention: block,
    ffn: { kind: 'no-op' },
  });
  const source = randomSource(architecture, 5);
  return {
    ...source,
    async blockWeights(slot) {
      const weights = await source.blockWeights(slot);
      const random = seededRandom(9);
      const half = headDim / 2;
      const [turn, scale] = [0, 1].map(() =>
        Array.from({ length: half }, () => 1 + random.uniform()),
      ) as number[][];
      const mix = Array.from({ length: headDim * headDim }, () => random.normal());
      for (const [k, v] of [
        ['k', 'v'],
        ['kBias', 'vBias'],
      ] as const) {
        if (!weights[k]) continue;
        const width = weights[k].data.length / (kvHeads * headDim);
        const at = (head: number, row: number, i: number): number => (head * headDim + row) * width + i;
        for (let head = 0; head < kvHeads; head += 2)
          for (let i = 0; i < width; i++)
            for (let row = 0; row < headDim; row++) {
              const pair = row % half;
              const [c, s] = [Math.cos(turn![pair]!), Math.sin(turn![pair]!)];
              const [x, y] = [
                weights[k].data[at(head, pair, i)]!,
                weights[k].data[at(head, pair + half, i)]!,
              ];
              const turned = row < half ? c * x - s * y : c * y + s * x;
              weights[k].data[at(head + 1, row, i)] = scale![pair]! * turned;
              let mixed = 0;
              for (let j = 0; j < headDim; j++)
                mixed += mix[row * headDim + j]! * weights[v]!.data[at(head, j, i)]!;
              weights[v]!.data[at(head + 1, row, i)] = mixed;
            }
      }
      return weights;
    },
  };
}

async function recordOf(source: WeightSource): Promise<BlockRecord> {
  const random = seededRandom(1);
  const text = (count: number): TokenWindows => ({
    window: 16,
    count,
    ids: Int32Array.from({ length: 16 * count }, () => random.integer(50)),
  });
  const teacher = await openExecution(source, runtime);
  const [attention, ffn] = source.architecture.slots.map(({ block }) => block);
  const slots = buildLibrary({
    teacher,
    alternatives: [[{ ...attention!, kvHeads: 2 }], [ffn!]],
    calibration: text(16),
    validation: text(4),
    options: { ranking: 'elimination', distil: {}, chunkTokens: 128 },
  });
  for await (const { blocks } of slots) return blocks[0]!.record;
  throw new Error('no slot');
}

test.each([false, true])(
  'heads that are one head in disguise merge without loss (biases: %s)',
  async (bias) => {
    const { losses } = await recordOf(disguised(bias));
    // What is left is the damping of W_O, 1e-4 of the mean diagonal.
    expect(losses.closedForm).toBeLessThan(1e-4);
    expect(losses.paper).toBeGreaterThan(0.05);
  },
);

test('the leading subspace holds as much as the leading eigenvectors', () => {
  const random = seededRandom(4);
  const [n, count] = [40, 7];
  const normal = matrix(
    n,
    n,
    Float64Array.from({ length: n * n }, () => random.normal()),
  );
  const gram = matrix(n, n);
  addProduct(gram, normal, normal);
  for (let i = 0; i < n; i++) gram.data[i * n + i]! += 1;
  // A = R D R^T with orthonormal R = L^-1 X from X X^T = L L^T: eigenvalues known.
  const l = cholesky(gram)!;
  const identity = matrix(n, n);
  for (let i = 0; i < n; i++) identity.data[i * n + i] = 1;
  const basis = leadingSubspace(solve(l, identity), n); // any orthonormal basis of the whole space
  const scaled = matrix(n, n);
  for (let i = 0; i < n; i++)
    for (let j = 0; j < n; j++) scaled.data[j * n + i] = basis.data[i * n + j]! * 0.7 ** (i / 2);
  const a = matrix(n, n);
  addProduct(a, scaled, scaled);
  const found = leadingSubspace(a, count);
  const moved = matrix(count, n);
  addProduct(moved, found, a);
  const held = moved.data.reduce((sum, value, i) => sum + value * found.data[i]!, 0);
  const expected = Array.from({ length: count }, (_, i) => 0.7 ** i).reduce((x, y) => x + y);
  expect(held / expected).toBeGreaterThan(0.999);
  const product = matrix(count, count);
  addProduct(product, found, found);
  product.data.forEach((value, i) => expect(value).toBeCloseTo(i % (count + 1) === 0 ? 1 : 0, 9));
});
