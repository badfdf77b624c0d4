/** Which kernels an operator launches under a workload, with their extents and how often. */
import type { Operator } from '../blocks/operators.ts';
import type { StreamConfig } from '../model/architecture.ts';
import type { KernelCall } from './kernel-call.ts';
import { elementBytes } from './number-format.ts';
import type { HardwareProfile } from './profile.ts';
import { attentionFormat, gemmKind } from './serving-formats.ts';
import { decodeSteps, prefillPlan } from './workload.ts';
import type { Workload } from './workload.ts';

/** Launches of one kernel that differ at most in length. */
export interface RepeatedCall {
  readonly kernel: KernelCall;
  readonly times: number;
}

/** The prefill of the whole batch. */
export function prefillCalls(
  profile: HardwareProfile,
  w: Workload,
  operator: Operator,
): readonly RepeatedCall[] {
  const plan = prefillPlan(w);
  return operator.kind === 'attention'
    ? [
        {
          kernel: kernelOf(profile, w, operator, 'prefill', plan.sequences, w.inputTokens),
          times: plan.attentionPasses,
        },
      ]
    : [{ kernel: kernelOf(profile, w, operator, 'prefill', 1, plan.gemmTokens), times: plan.gemmPasses }];
}

/** All decode steps of the whole batch. */
export function decodeCalls(
  profile: HardwareProfile,
  w: Workload,
  operator: Operator,
): readonly RepeatedCall[] {
  if (w.outputTokens === 0) return [];
  const at = (length: number): KernelCall => kernelOf(profile, w, operator, 'decode', w.batch, length);
  return operator.kind === 'attention'
    ? decodeSteps(w).map(({ length, steps }) => ({ kernel: at(length), times: steps }))
    : [{ kernel: at(1), times: w.outputTokens }];
}

/** Embedding, final norm and head, once; only the last token of each prompt needs logits. */
export function headCalls(
  profile: HardwareProfile,
  w: Workload,
  stream: StreamConfig,
): readonly KernelCall[] {
  const { vocabularySize, hidden } = stream;
  return [
    {
      op: 'gemm',
      call: {
        m: w.batch,
        n: Math.ceil(vocabularySize / w.tensorParallel),
        k: hidden,
        kind: gemmKind(profile, w, w.embeddings ?? w.weights),
      },
    },
    // The gather reads and writes a row, the norm reads and writes it again.
    { op: 'stream', bytes: 4 * w.batch * hidden * elementBytes(w.activations), flops: 4 * w.batch * hidden },
  ];
}

/** `length` is tokens per sequence in prefill, cached tokens in decode of attention. */
function kernelOf(
  profile: HardwareProfile,
  w: Workload,
  operator: Operator,
  phase: 'prefill' | 'decode',
  batch: number,
  length: number,
): KernelCall {
  const tokens = phase === 'decode' ? w.batch : batch * length;
  const { weights, tensorParallel: tp } = w;
  const bytes = elementBytes(w.activations);
  switch (operator.kind) {
    case 'gemm': {
      const n = operator.parallel === 'column' ? Math.ceil(operator.n / tp) : operator.n;
      const k = operator.parallel === 'row' ? Math.ceil(operator.k / tp) : operator.k;
      return { op: 'gemm', call: { kind: gemmKind(profile, w, weights), m: tokens, n, k } };
    }
    case 'attention': {
      const { heads, kvHeads, headDim, window } = operator;
      return {
        op: 'attention',
        call: {
          phase,
          format: attentionFormat(w),
          heads: heads / tp,
          kvHeads: Math.max(1, kvHeads / tp),
          headDim,
          ...(window === undefined ? {} : { window }),
          batch,
          length,
          kv: w.kv,
        },
      };
    }
    case 'norm':
      return { op: 'stream', bytes: 2 * tokens * operator.width * bytes, flops: 4 * tokens * operator.width };
    case 'elementwise':
      return {
        op: 'stream',
        bytes: tokens * (operator.reads + operator.writes) * bytes,
        flops: tokens * operator.flops,
      };
    case 'all-reduce':
      return { op: 'all-reduce', bytes: tokens * operator.elements * bytes, devices: tp };
  }
}
