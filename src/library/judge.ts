/**
 * Validation losses from second moments of the validation text: a block that reads the teacher's features or its
 * normalised inputs is a linear map of them, so its error is a quadratic form and no token has to pass through it.
 */
import { blockKey, blockOf } from '../blocks/index.ts';
import { remember, type Execution } from '../execution/index.ts';
import { gemm, graph, input, mul, reduceSum, sub, type Graph } from '../graph/index.ts';
import type { BlockConfig, StreamConfig } from '../model/architecture.ts';
import type { Resident } from '../runtime/index.ts';
import { float32, type Tensor } from '../tensor/tensor.ts';
import { matrix, transpose, type Matrix } from '../algebra/index.ts';
import { toTensor, type ClosedForm } from './closed-form.ts';
import { relativeError, type TeacherPass } from './statistics.ts';

/** The validation moments of a slot, on the device. */
export interface Judge {
  /** Normalised MSE of a closed form. */
  loss(config: BlockConfig, form: ClosedForm): Promise<number>;
  close(): Promise<void>;
}

/**
 * @param output the teacher's output matrix (hidden, features)
 * @param validation its moments as the alternatives need them, unweighted
 */
export async function openJudge(
  { runtime, worker, architecture: { stream } }: Execution,
  output: Tensor<'float32'>,
  { gram, inputs, energy }: Pick<TeacherPass, 'gram' | 'inputs' | 'energy'>,
): Promise<Judge> {
  const place = async (m: Matrix | undefined): Promise<Resident | undefined> =>
    m && runtime.upload(toTensor(m), worker);
  const features = await place(gram);
  const inputGram = await place(inputs?.gram);
  const inputCross = await place(inputs && transpose(inputs.cross));
  const identity = await place(inputs && identityMatrix(stream.hidden));
  const errorOf = async (program: Graph, feeds: Record<string, Tensor | Resident>): Promise<number> => {
    const { error } = await runtime.run(program, feeds, { worker });
    return (error!.data as Float32Array).reduce((sum, value) => sum + value, 0);
  };
  return {
    async loss(config, { weights, channels }) {
      if (channels !== undefined) {
        const left = difference(output, channels, weights[blockOf(config).output!]!);
        const error = await errorOf(quadraticForm(output.shape), { d: left, gram: features! });
        return relativeError(Math.max(0, error), energy);
      }
      const feeds = Object.entries(weights).map(([name, { data, shape }]) => [
        `weight.${name}`,
        float32(data.slice(), shape),
      ]);
      const error = await errorOf(mapError(config, stream), {
        ...(Object.fromEntries(feeds.filter(([name]) => name !== 'weight.norm')) as Record<string, Tensor>),
        gram: inputGram!,
        cross: inputCross!,
        identity: identity!,
      });
      return relativeError(Math.max(0, energy + error), energy);
    },
    close: async () =>
      runtime.release(
        ...[features, inputGram, inputCross, identity].filter((resident) => resident !== undefined),
      ),
  };
}

function identityMatrix(n: number): Matrix {
  const identity = matrix(n, n);
  for (let i = 0; i < n; i++) identity.data[i * (n + 1)] = 1;
  return identity;
}

/** W0 less a map on some of its inputs: (hidden, features). */
function difference(
  { data, shape }: Tensor<'float32'>,
  channels: readonly number[],
  map: Tensor<'float32'>,
): Tensor<'float32'> {
  const columns = shape[1]!;
  const left = data.slice();
  for (let row = 0; row < shape[0]!; row++)
    channels.forEach(
      (channel, i) => (left[row * columns + channel]! -= map.data[row * channels.length + i]!),
    );
  return float32(left, shape);
}

/** tr(D G D^T) by rows: what is left of the output without, and with the refit of, the channels that stay. */
const quadraticForm = (shape: readonly number[]): Graph =>
  remember(['quadratic form', shape], () => {
    const d = input('d', 'float32', shape); // (hidden, features)
    const gram = input('gram', 'float32', [shape[1]!, shape[1]!]);
    return graph({ error: reduceSum(mul(gemm(d, gram), d), { axes: [1] }) });
  });

/** tr(M G M^T) - 2 tr(M C^T) by rows of M^T: with the outputs' energy, the error of the linear map M that a block is. */
const mapError = (config: BlockConfig, stream: StreamConfig): Graph =>
  remember(['map error', blockKey(config), stream], () => {
    const block = blockOf(config);
    const { hidden } = stream;
    const weights = Object.fromEntries(
      Object.entries(block.weights(config, stream)).map(([name, shape]) => [
        name,
        input(`weight.${name}`, 'float32', shape),
      ]),
    );
    // A linear map is what it makes of the identity.
    const identity = input('identity', 'float32', [hidden, hidden]);
    const features = block.features(identity, weights, { config, stream, batch: 1, tokens: hidden })!;
    const map = gemm(features, weights[block.output!]!, { transposeB: true }); // M^T (inputs, outputs)
    const gram = input('gram', 'float32', [hidden, hidden]);
    const cross = input('cross', 'float32', [hidden, hidden]); // C^T (inputs, outputs)
    return graph({ error: reduceSum(mul(map, sub(gemm(gram, map), mul(cross, 2))), { axes: [1] }) });
  });
