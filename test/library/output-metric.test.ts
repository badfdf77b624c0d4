import { expect, test } from 'vitest';
import { addProduct, matrix, transpose, type Matrix } from '../../src/algebra/index.ts';
import { closedForms, toMatrix } from '../../src/library/closed-form.ts';
import { intoMetric, outOfMetric, outputMetric } from '../../src/library/output-metric.ts';
import { seededRandom } from '../../src/util/random.ts';
import { randomWeights } from '../blocks/samples.ts';
import { uniformArchitecture } from '../blocks/architectures.ts';

const random = seededRandom(12);
const sample = (rows: number, columns: number): Matrix =>
  matrix(
    rows,
    columns,
    Float64Array.from({ length: rows * columns }, () => random.normal()),
  );
const product = (a: Matrix, b: Matrix): Matrix => {
  const out = matrix(a.rows, b.columns);
  addProduct(out, a, transpose(b));
  return out;
};
/** X^T X plus a little of the unit matrix. */
const gramOf = (x: Matrix): Matrix => product(transpose(x), x);

const hidden = 8;
const { stream } = uniformArchitecture({
  layers: 1,
  hidden,
  vocabularySize: 10,
  attention: { kind: 'gqa', heads: 2, kvHeads: 1, headDim: 4 },
  ffn: { kind: 'swiglu', width: 12 },
});
const config = { kind: 'swiglu', width: 12 };
const teacher = { config, weights: randomWeights(config, stream, 3), meanAbsFeature: new Float32Array(12) };
/** Two directions of the output matter a thousand times as much as the others. */
const sensitivity = matrix(hidden, hidden);
for (let i = 0; i < hidden; i++) sensitivity.data[i * hidden + i] = i < 2 ? 1000 : 1;

/** tr(S (W - W0) A (W - W0)^T) */
function loss(s: Matrix, w: Matrix, w0: Matrix, a: Matrix): number {
  const difference = matrix(
    w.rows,
    w.columns,
    w.data.map((value, i) => value - w0.data[i]!),
  );
  const moved = product(product(s, difference), a);
  return moved.data.reduce((sum, value, i) => sum + value * difference.data[i]!, 0);
}

test('into the metric and out again is where one started', () => {
  const metric = outputMetric(gramOf(sample(20, hidden)))!;
  const w = sample(hidden, 5);
  outOfMetric(metric, intoMetric(metric, w)).data.forEach((value, i) =>
    expect(value).toBeCloseTo(w.data[i]!, 9),
  );
  // Its norm is the metric's: ||L^T w||^2 = w^T S w, S with its shrinkage.
  const s = product(metric, transpose(metric));
  const column = sample(hidden, 1);
  const moved = intoMetric(metric, column);
  const norm = moved.data.reduce((sum, value) => sum + value * value, 0);
  expect(norm).toBeCloseTo(product(product(transpose(column), s), column).data[0]!, 9);
});

test('where nothing matters, or nothing finite is known, outputs count alike', () => {
  expect(outputMetric(matrix(4, 4))).toBeUndefined();
  expect(outputMetric(matrix(1, 1, Float64Array.of(Number.NaN)))).toBeUndefined();
  const w = sample(3, 3);
  expect(intoMetric(undefined, w)).toBe(w);
  expect(outOfMetric(undefined, w)).toBe(w);
});

test('channels stay by what they do to outputs that matter, and are still refitted to all outputs', () => {
  const features = sample(400, 12);
  const gram = gramOf(features);
  const alternatives = [6, 4, 2].map((width) => ({ kind: 'swiglu', width }));
  const solve = (extra: object) =>
    closedForms({
      teacher,
      alternatives,
      ranking: 'elimination',
      gram: matrix(12, 12, gram.data.slice()),
      ...extra,
    });
  const w0 = toMatrix(teacher.weights['down']!);
  const s = outputMetric(sensitivity)!;
  const metric = product(s, transpose(s));
  const full = ({ weights, channels }: { weights: object; channels?: readonly number[] }): Matrix => {
    const down = toMatrix((weights as typeof teacher.weights)['down']!);
    const w = matrix(hidden, 12);
    channels!.forEach((channel, at) => {
      for (let i = 0; i < hidden; i++) w.data[i * 12 + channel] = down.data[i * down.columns + at]!;
    });
    return w;
  };
  const [plain, aware] = [solve({}), solve({ sensitivity })];
  alternatives.forEach((_, i) => {
    const [a, b] = [full(plain[i]!), full(aware[i]!)];
    expect(loss(metric, b, w0, gram)).toBeLessThanOrEqual(loss(metric, a, w0, gram) * (1 + 1e-4));
    // Given its channels, the map is the least-squares one in any metric: no step along a kept channel helps.
    const gradient = product(
      matrix(
        hidden,
        12,
        b.data.map((value, k) => value - w0.data[k]!),
      ),
      gram,
    );
    for (const channel of aware[i]!.channels!)
      for (let row = 0; row < hidden; row++)
        expect(Math.abs(gradient.data[row * 12 + channel]!)).toBeLessThan(2);
  });
});

test('a map of low rank keeps the directions that matter', () => {
  const inputs = sample(300, hidden);
  const map = sample(hidden, hidden);
  const gram = gramOf(inputs);
  const cross = product(map, gram);
  const alternatives = [{ kind: 'low-rank', rank: 2 }];
  const solve = (extra: object) =>
    closedForms({
      teacher,
      alternatives,
      ranking: 'elimination',
      inputs: {
        gram: matrix(hidden, hidden, gram.data.slice()),
        cross: matrix(hidden, hidden, cross.data.slice()),
      },
      ...extra,
    })[0]!.weights;
  const composed = (weights: object): Matrix => {
    const { expand, reduce } = weights as typeof teacher.weights;
    return product(toMatrix(expand!), toMatrix(reduce!));
  };
  const s = outputMetric(sensitivity)!;
  const metric = product(s, transpose(s));
  const [plain, aware] = [composed(solve({})), composed(solve({ sensitivity }))];
  expect(loss(metric, aware, map, gram)).toBeLessThan(0.5 * loss(metric, plain, map, gram));
});
