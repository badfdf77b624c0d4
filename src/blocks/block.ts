/** The one extension point: what may stand in a slot. One file per block, one line in the registry. */
import type { z } from 'zod';
import type { Value } from '../graph/index.ts';
import type { BlockConfig, SlotKind, StreamConfig } from '../model/architecture.ts';
import type { Shape, Tensor } from '../tensor/tensor.ts';
import type { Operator } from './operators.ts';
import type { Served, ServingCache, ServingContext } from './serving.ts';

/** Weights by the block's own names (`norm`, `q`, `down`, ...), matrices as (out, in) like Hugging Face. */
export type Weights<T> = Readonly<Record<string, T>>;

/** Fixed extents of one compiled forward. */
export interface ForwardContext<C> {
  readonly config: C;
  readonly stream: StreamConfig;
  readonly batch: number;
  /** Tokens per sequence; the stream is (batch * tokens, hidden). */
  readonly tokens: number;
}

/** Features as groups of members of channels: KV groups of query heads of head channels; an FFN is one group. */
export interface FeatureGrid {
  readonly groups: number;
  /** Per group. */
  readonly members: number;
  /** Per member: those stay or go together. */
  readonly channels: number;
}

/** What is left of a teacher's features: `to.groups` of its groups, in each of them `to.members` of the members. */
export interface Narrowing {
  readonly from: FeatureGrid;
  readonly to: FeatureGrid;
}

/** How a linear map of the normalised stream becomes a block's weights. */
export interface LinearMap<C> {
  /** The largest rank of a map that the block can be; absent where it can be any. */
  rank?(config: C): number;
  /**
   * @param expand (hidden, rank) and
   * @param reduce (rank, hidden): the map is their product; absent where the rank has no limit, `expand` is the map
   */
  weights(
    norm: Tensor<'float32'>,
    expand: Tensor<'float32'>,
    reduce?: Tensor<'float32'>,
  ): Weights<Tensor<'float32'>>;
}

/** What the paper's initialisation may look at, besides the teacher's weights. */
export interface TeacherBlock {
  readonly config: BlockConfig;
  readonly weights: Weights<Tensor<'float32'>>;
  /** Mean |activation| entering the teacher's output matrix, per input channel (C_i of arXiv 2411.19146, sec. 3). */
  readonly meanAbsFeature?: Float32Array;
}

/**
 * A block adds `features(norm(x)) . output^T` to the stream. One graph serves training and inference: the runtime's
 * fused attention and norm kernels were measured and do not beat its own fusion of these primitives.
 */
export interface Block<C extends BlockConfig = BlockConfig> {
  readonly kind: C['kind'];
  readonly slots: readonly SlotKind[];
  readonly schema: z.ZodType<C>;
  /**
   * Short name shown in tables, different for different alternatives of one slot: `kv1`, `768`, `linear`, `no-op`.
   * @param teacher the slot's own block, beside which it stands: heads are named only where some are dropped
   */
  label(config: C, teacher?: BlockConfig): string;
  /** Names and shapes of the weights; empty for a block without any. */
  weights(config: C, stream: StreamConfig): Weights<Shape>;
  /**
   * The activation that enters the output matrix, (batch * tokens, features), from the normalised stream
   * (batch * tokens, hidden); undefined for a block that adds nothing. The closed form fits the output matrix on it.
   */
  features(normed: Value, weights: Weights<Value>, context: ForwardContext<C>): Value | undefined;
  /** `features` of new tokens after those in a cache, by the runtime's fused attention; only of blocks that cache something. */
  serve?(
    normed: Value,
    weights: Weights<Value>,
    cache: ServingCache<Value>,
    context: ServingContext<C>,
  ): Served;
  /** Shape of the keys and of the values that it caches for `length` tokens when served. */
  servingCacheShape?(config: C, batch: number, length: number): Shape;
  /** Name of the output matrix (hidden, features), the last thing a block applies; undefined when it has none. */
  readonly output?: string;
  /** Why this config cannot be initialised from a teacher's; undefined when it can. */
  refuses(config: C, teacher: BlockConfig, stream: StreamConfig): string | undefined;
  /**
   * The paper's initialisation from the teacher (arXiv 2411.19146, sec. 3), fresh arrays.
   * @throws RangeError where `refuses` gives a reason.
   */
  initialise(config: C, teacher: TeacherBlock, stream: StreamConfig): Weights<Tensor<'float32'>>;
  /** Which part of a teacher's features a block computes; undefined when its features are others, or all of them. */
  narrowing?(config: C, teacher: BlockConfig): Narrowing | undefined;
  /**
   * The teacher's block on these channels of its features only, fresh arrays. Which, and the output matrix, are then
   * free to be chosen from second moments.
   * @param channels whole members, ascending; equally many members of each group that is left
   */
  selectChannels?(
    teacher: Pick<TeacherBlock, 'config' | 'weights'>,
    channels: readonly number[],
  ): Weights<Tensor<'float32'>>;
  /** Of a block that is a linear map of the normalised stream: its best weights then follow from second moments. */
  readonly linearMap?: LinearMap<C>;
  /** KV-cache elements per token (keys and values together). */
  kvElementsPerToken(config: C, stream: StreamConfig): number;
  /** The operators one forward runs, as data for the cost model. */
  operators(config: C, stream: StreamConfig): readonly Operator[];
}
