/** What a block executes, as plain data that a cost model can time: no graph, no device. */

export type Operator =
  /** (tokens, k) x (k, n); `count` times. `parallel` says how tensor parallelism splits it. */
  | {
      readonly kind: 'gemm';
      readonly n: number;
      readonly k: number;
      readonly bias?: boolean;
      readonly parallel: 'column' | 'row' | 'none';
    }
  /** Attention proper: scores, softmax, context, RoPE and cache write. */
  | {
      readonly kind: 'attention';
      readonly heads: number;
      readonly kvHeads: number;
      readonly headDim: number;
      readonly window?: number;
    }
  /** RMSNorm over the stream. */
  | { readonly kind: 'norm'; readonly width: number }
  /** Element-wise work per token: elements read and written, FLOPs. */
  | { readonly kind: 'elementwise'; readonly reads: number; readonly writes: number; readonly flops: number }
  /** Sum over the tensor-parallel group of `elements` per token; free when the degree is 1. */
  | { readonly kind: 'all-reduce'; readonly elements: number };
