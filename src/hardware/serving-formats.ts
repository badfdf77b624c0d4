/** Which kernels a serving stack runs for the formats of a workload. */
import type { AttentionCall, GemmKind } from './kernel-call.ts';
import type { WeightFormat } from './number-format.ts';
import type { HardwareProfile } from './profile.ts';
import type { Workload } from './workload.ts';

/** Candidates in the order in which a stack prefers them; 8-bit weights multiply 8-bit activations where it can. */
const preferred: Readonly<Record<WeightFormat, readonly GemmKind[]>> = {
  fp32: ['fp32'],
  fp16: ['fp16', 'bf16'],
  bf16: ['bf16'],
  fp8: ['fp8'],
  int8: ['int8', 'int8-weights'],
  int4: ['int4-weights'],
  nvfp4: ['nvfp4'],
};

/** The kernel of products with weights of this format; the first candidate stands where none was timed. */
export function gemmKind(profile: HardwareProfile, { fp8Scales }: Workload, weights: WeightFormat): GemmKind {
  if (weights === 'fp8' && fp8Scales === 'static') return 'fp8-static';
  const candidates = preferred[weights];
  return candidates.find((kind) => profile.gemm.some((kernel) => kernel.kind === kind)) ?? candidates[0]!;
}

/** Scores are computed in the activations' format, whatever the cache holds. */
export const attentionFormat = ({ activations }: Workload): AttentionCall['format'] => activations;
