/** Where the time of a model goes: per distinct block and phase, what it waits for (Williams et al., 2009). */
import { blockOf } from '../blocks/index.ts';
import type { Architecture } from '../model/architecture.ts';
import { countedBlocks } from './block-shape.ts';
import { callLimit, callTime, limits, peakFlopsPerSecond } from './call-time.ts';
import type { Limit } from './call-time.ts';
import { attentionWork, gemmWork } from './kernel-call.ts';
import type { KernelCall } from './kernel-call.ts';
import { decodeCalls, headCalls, prefillCalls } from './operator-calls.ts';
import type { RepeatedCall } from './operator-calls.ts';
import type { HardwareProfile } from './profile.ts';
import { gemmKind } from './serving-formats.ts';
import type { Workload } from './workload.ts';

export interface Load {
  /** `gqa kv8`, `swiglu 14336`, `head`, `whole model`. */
  readonly name: string;
  readonly phase: 'prefill' | 'decode';
  /** Occurrences in the model; the figures are of all of them together. */
  readonly times: number;
  /** Of the whole batch: its prefill, or the mean decode step. */
  readonly ms: number;
  readonly flops: number;
  readonly bytes: number;
  /** Share of the time that waits for each limit. */
  readonly shares: Readonly<Record<Limit, number>>;
  /** The largest of them. */
  readonly bound: Limit;
}

export interface Roofline {
  /** Of the weights' format. */
  readonly peakFlopsPerSecond: number;
  readonly bytesPerSecond: number;
  /** Blocks, head, whole model; prefill before decode. Blocks that do nothing are left out. */
  readonly loads: readonly Load[];
}

/** Of one device of the tensor-parallel group; every call counts wholly to what dominates it. */
export function roofline(architecture: Architecture, w: Workload, profile: HardwareProfile): Roofline {
  const head = headCalls(profile, w, architecture.stream);
  const once = (times: number): readonly RepeatedCall[] => head.map((kernel) => ({ kernel, times }));
  const parts = [
    ...countedBlocks(architecture).map(({ config, shape: { operators }, times }) => ({
      name: `${config.kind} ${blockOf(config).label(config)}`,
      times,
      prefill: operators.flatMap((operator) => prefillCalls(profile, w, operator)),
      decode: operators.flatMap((operator) => decodeCalls(profile, w, operator)),
    })),
    { name: 'head', times: 1, prefill: once(1), decode: once(w.outputTokens) },
  ];
  const loads = (['prefill', 'decode'] as const).flatMap((phase) => {
    if (phase === 'decode' && w.outputTokens === 0) return [];
    const each = parts.map(({ name, times, [phase]: calls }) => {
      const steps = phase === 'prefill' ? 1 : w.outputTokens;
      const all = calls.map(({ kernel, times: launches }) => ({
        kernel,
        times: (launches * times) / steps,
      }));
      return { name, times, calls: all };
    });
    const whole = { name: 'whole model', times: 1, calls: each.flatMap(({ calls }) => calls) };
    return [...each, whole]
      .filter(({ calls }) => calls.length > 0)
      .map(({ name, times, calls }) => ({ name, phase, times, ...loadOf(profile, calls) }));
  });
  return {
    peakFlopsPerSecond: peakFlopsPerSecond(profile, gemmKind(profile, w, w.weights)),
    bytesPerSecond: profile.device.bandwidthBytesPerSecond,
    loads,
  };
}

function loadOf(
  profile: HardwareProfile,
  calls: readonly RepeatedCall[],
): Pick<Load, 'ms' | 'flops' | 'bytes' | 'shares' | 'bound'> {
  const msBy: Record<Limit, number> = { compute: 0, memory: 0, launch: 0, network: 0 };
  let [flops, bytes] = [0, 0];
  for (const { kernel, times } of calls) {
    msBy[callLimit(profile, kernel)] += times * callTime(profile, kernel).value;
    const work = workOf(kernel);
    flops += times * work.flops;
    bytes += times * work.bytes;
  }
  const ms = limits.reduce((all, limit) => all + msBy[limit], 0);
  return {
    ms,
    flops,
    bytes,
    shares: Object.fromEntries(limits.map((limit) => [limit, msBy[limit] / ms])) as Record<Limit, number>,
    bound: limits.reduce((most, limit) => (msBy[limit] > msBy[most] ? limit : most)),
  };
}

function workOf(kernel: KernelCall): { readonly flops: number; readonly bytes: number } {
  switch (kernel.op) {
    case 'gemm':
      return gemmWork(kernel.call);
    case 'attention':
      return attentionWork(kernel.call);
    case 'stream':
      return kernel;
    case 'all-reduce':
      return { flops: 0, bytes: 0 };
  }
}
