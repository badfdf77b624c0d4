/** The bundled teacher: its shape, its first weights, and its loss as one graph made of the project's own blocks. */
import { blockForward, blockOf, rmsNorm } from '../../src/blocks/index.ts';
import {
  gather,
  gemm,
  logSoftmax,
  mul,
  neg,
  oneHot,
  reduceMean,
  reduceSum,
  reshape,
  slice,
} from '../../src/graph/index.ts';
import type { Value } from '../../src/graph/index.ts';
import type { Architecture, Slot } from '../../src/model/architecture.ts';
import { elementCount, float32, type Shape, type Tensor } from '../../src/tensor/index.ts';
import type { Random } from '../../src/util/random.ts';

const layers = 8;

export const architecture: Architecture = {
  stream: {
    family: 'llama',
    vocabularySize: 1024,
    hidden: 128,
    normEpsilon: 1e-5,
    ropeTheta: 10000,
    tiedEmbeddings: true,
    contextLength: 256,
  },
  slots: Array.from({ length: layers }, (_, layer): readonly Slot[] => [
    { layer, kind: 'attention', block: { kind: 'gqa', heads: 4, kvHeads: 2, headDim: 32 } },
    { layer, kind: 'ffn', block: { kind: 'swiglu', width: 384 } },
  ]).flat(),
};

const { stream, slots } = architecture;

/** config.json of Hugging Face for this architecture. */
export const huggingFaceConfig = {
  architectures: ['LlamaForCausalLM'],
  model_type: 'llama',
  vocab_size: stream.vocabularySize,
  hidden_size: stream.hidden,
  intermediate_size: 384,
  num_hidden_layers: layers,
  num_attention_heads: 4,
  num_key_value_heads: 2,
  head_dim: 32,
  hidden_act: 'silu',
  max_position_embeddings: stream.contextLength,
  rms_norm_eps: stream.normEpsilon,
  rope_theta: stream.ropeTheta,
  tie_word_embeddings: stream.tiedEmbeddings,
  attention_bias: false,
  mlp_bias: false,
  bos_token_id: null,
  eos_token_id: null,
  torch_dtype: 'bfloat16',
} as const;

/** Hugging Face's name of each weight of a block. */
const names: Readonly<Record<Slot['kind'], Readonly<Record<string, string>>>> = {
  attention: {
    norm: 'input_layernorm',
    q: 'self_attn.q_proj',
    k: 'self_attn.k_proj',
    v: 'self_attn.v_proj',
    o: 'self_attn.o_proj',
  },
  ffn: { norm: 'post_attention_layernorm', gate: 'mlp.gate_proj', up: 'mlp.up_proj', down: 'mlp.down_proj' },
};

const nameOf = ({ layer, kind }: Slot, weight: string): string =>
  `model.layers.${layer}.${names[kind][weight]}.weight`;

const embedding = 'model.embed_tokens.weight';
const finalNorm = 'model.norm.weight';

/** Every weight by its Hugging Face name. */
export const parameterShapes: Readonly<Record<string, Shape>> = {
  [embedding]: [stream.vocabularySize, stream.hidden],
  ...Object.fromEntries(
    slots.flatMap((slot) =>
      Object.entries(blockOf(slot.block).weights(slot.block, stream)).map(([weight, shape]) => [
        nameOf(slot, weight),
        shape,
      ]),
    ),
  ),
  [finalNorm]: [stream.hidden],
};

/**
 * Norms start at 1, matrices normal with deviation 0.04; those that write into the stream a further
 * 1 / sqrt(number of slots) smaller, so that its variance does not grow with depth (GPT-2, sec. 2.3).
 */
export function initialParameters(random: Random): Record<string, Tensor<'float32'>> {
  return Object.fromEntries(
    Object.entries(parameterShapes).map(([name, shape]) => {
      const writes = name.endsWith('o_proj.weight') || name.endsWith('down_proj.weight');
      const deviation = writes ? 0.04 / Math.sqrt(slots.length) : 0.04;
      const isNorm = shape.length === 1;
      const data = Float32Array.from({ length: elementCount(shape) }, () =>
        isNorm ? 1 : random.normal() * deviation,
      );
      return [name, float32(data, shape)];
    }),
  );
}

/**
 * Mean cross-entropy, in nats, of predicting each next token.
 * @param ids (batch, tokens + 1) int32: each window and the token after it
 */
export function crossEntropy(parameters: Readonly<Record<string, Value>>, ids: Value): Value {
  const [batch, tokens] = [ids.shape[0]!, ids.shape[1]! - 1];
  const rows = batch * tokens;
  const { hidden, vocabularySize, normEpsilon } = stream;
  let x = reshape(gather(parameters[embedding]!, slice(ids, 1, 0, tokens)), [rows, hidden]);
  for (const slot of slots) {
    const shapes = blockOf(slot.block).weights(slot.block, stream);
    const weights = Object.fromEntries(
      Object.keys(shapes).map((weight) => [weight, parameters[nameOf(slot, weight)]!]),
    );
    x = blockForward(x, weights, { config: slot.block, stream, batch, tokens }).stream;
  }
  const normed = rmsNorm(x, parameters[finalNorm]!, normEpsilon);
  const logits = gemm(normed, parameters[embedding]!, { transposeB: true }); // (rows, hidden) x (hidden, vocabulary)
  const targets = oneHot(reshape(slice(ids, 1, 1, tokens + 1), [rows]), vocabularySize); // (rows, vocabulary)
  return neg(reduceMean(reduceSum(mul(targets, logSoftmax(logits)), { axes: [-1] })));
}
