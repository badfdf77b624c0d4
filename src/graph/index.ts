/** The operator graph: values, gradients, legality, training loops, ONNX bytes. */
export {
  abs,
  add,
  argMax,
  cast,
  concat,
  constant,
  cos,
  div,
  equal,
  exp,
  expand,
  fused,
  gather,
  gemm,
  greater,
  input,
  iota,
  less,
  log,
  logSoftmax,
  loop,
  matmul,
  mul,
  neg,
  oneHot,
  pad,
  reciprocal,
  reduceMax,
  reduceMean,
  reduceSum,
  reshape,
  result,
  sigmoid,
  silu,
  sin,
  slice,
  softmax,
  sqrt,
  square,
  stopGradient,
  sub,
  tanh,
  transpose,
  where,
} from './build.ts';
export { encode } from './encode.ts';
export type { ExternalData } from './onnx-schema.ts';
export { gradient } from './gradient.ts';
export { graph, replaceValues, type Graph } from './graph.ts';
export { outputTypes } from './types.ts';
export { symbolicGraph } from './symbolic.ts';
export type { Extent, TensorType, Value } from './value.ts';
export { trainingLoop, type TrainingScalars, type TrainingSpec } from './training-loop.ts';
