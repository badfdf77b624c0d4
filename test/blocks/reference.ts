/** Blocks written a second time, naively and in double precision, from their papers: no graph, no batching tricks. */
import type { Weights } from '../../src/blocks/index.ts';
import type { Tensor } from '../../src/tensor/tensor.ts';
import type { BlockConfig, RopeScaling } from '../../src/model/architecture.ts';
import type { Sample } from './samples.ts';

type Vector = readonly number[];

const rowsOf = ({ data, shape }: Tensor): Vector[] => {
  const width = shape.length === 1 ? 1 : shape[1]!;
  return Array.from({ length: shape[0]! }, (_, row) =>
    Array.from(data.slice(row * width, (row + 1) * width), Number),
  );
};
const dot = (a: Vector, b: Vector): number => a.reduce((sum, value, i) => sum + value * b[i]!, 0);
/** matrix (out, in) times vector (in). */
function times({ data, shape }: Tensor, x: Vector): number[] {
  const [out, width] = shape as [number, number];
  return Array.from({ length: out }, (_, row) =>
    x.reduce((sum, value, i) => sum + value * Number(data[row * width + i]), 0),
  );
}
const vector = ({ data }: Tensor): number[] => Array.from(data, Number);
const normalised = (x: Vector, weight: Vector, epsilon: number): number[] =>
  x.map((value, i) => (value / Math.sqrt(dot(x, x) / x.length + epsilon)) * weight[i]!);

/** What the block adds to each row of the stream. */
export function referenceDelta(sample: Sample, weights: Weights<Tensor>, x: Tensor): number[][] {
  const { config, stream, batch, tokens } = sample;
  const rows = rowsOf(x);
  if (config.kind === 'no-op') return rows.map((row) => row.map(() => 0));
  const normed = rows.map((row) => normalised(row, vector(weights.norm!), stream.normEpsilon));
  if (config.kind === 'linear') return normed.map((row) => times(weights.linear!, row));
  if (config.kind === 'low-rank')
    return normed.map((row) => times(weights.expand!, times(weights.reduce!, row)));
  if (config.kind === 'swiglu') {
    return normed.map((row) => {
      const up = times(weights.up!, row);
      const gated = times(weights.gate!, row).map((g, i) => (g / (1 + Math.exp(-g))) * up[i]!);
      return times(weights.down!, gated);
    });
  }
  return Array.from({ length: batch }, (_, b) =>
    attend(sample, weights, normed.slice(b * tokens, (b + 1) * tokens)),
  ).flat();
}

function attend({ config, stream }: Sample, weights: Weights<Tensor>, normed: readonly Vector[]): number[][] {
  const { heads, kvHeads, headDim, window = Infinity } = config as BlockConfig & Record<string, number>;
  const head = (x: Vector, matrix: Tensor, bias: Tensor | undefined, index: number): number[] =>
    times(matrix, x)
      .map((value, i) => value + (bias === undefined ? 0 : Number(bias.data[i])))
      .slice(index * headDim!, (index + 1) * headDim!);
  const turned = (x: Vector, norm: Tensor | undefined, position: number): number[] =>
    turn(norm === undefined ? x : normalised(x, vector(norm), stream.normEpsilon), position, stream);
  const keys = normed.map((row, t) =>
    Array.from({ length: kvHeads! }, (_, g) =>
      turned(head(row, weights.k!, weights.kBias, g), weights.kNorm, t),
    ),
  );
  const values = normed.map((row) =>
    Array.from({ length: kvHeads! }, (_, g) => head(row, weights.v!, weights.vBias, g)),
  );
  return normed.map((row, t) => {
    const features = Array.from({ length: heads! }, (_, h) => {
      const group = Math.floor((h * kvHeads!) / heads!);
      const query = turned(head(row, weights.q!, weights.qBias, h), weights.qNorm, t);
      const seen = normed.flatMap((_, s) => (s <= t && t - s < window ? [s] : []));
      const scores = seen.map((s) => Math.exp(dot(query, keys[s]![group]!) / Math.sqrt(headDim!)));
      const total = scores.reduce((sum, score) => sum + score, 0);
      return Array.from({ length: headDim! }, (_, i) =>
        seen.reduce((sum, s, j) => sum + (scores[j]! / total) * values[s]![group]![i]!, 0),
      );
    }).flat();
    return times(weights.o!, features);
  });
}

/** As complex numbers: (x_j + i x_{j + d/2}) e^{i angle}. */
function turn(
  x: Vector,
  position: number,
  stream: { ropeTheta: number; ropeScaling?: RopeScaling },
): number[] {
  const half = x.length / 2;
  const out = [...x];
  for (let j = 0; j < half; j++) {
    let frequency = 1 / stream.ropeTheta ** (j / half);
    const scaling = stream.ropeScaling;
    if (scaling !== undefined) {
      const wavelength = (2 * Math.PI) / frequency;
      const {
        factor,
        lowFrequencyFactor: low,
        highFrequencyFactor: high,
        originalContextLength: length,
      } = scaling;
      if (wavelength > length / low) frequency /= factor;
      else if (wavelength > length / high) {
        const smooth = (length / wavelength - low) / (high - low);
        frequency = ((1 - smooth) * frequency) / factor + smooth * frequency;
      }
    }
    const [cos, sin] = [Math.cos(position * frequency), Math.sin(position * frequency)];
    out[j] = x[j]! * cos - x[j + half]! * sin;
    out[j + half] = x[j]! * sin + x[j + half]! * cos;
  }
  return out;
}
