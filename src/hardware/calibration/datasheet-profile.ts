/** A profile from a datasheet alone: typical efficiencies on the device's limits, everything marked extrapolated. */
import { kvFormats } from '../number-format.ts';
import type { GemmKind } from '../kernel-call.ts';
import type { KernelModel } from '../kernel-model.ts';
import type { HardwareProfile } from '../profile.ts';
import { peaksOf } from './calibrate.ts';
import { knownDevices } from './devices.ts';

/**
 * Coefficients between those fitted on the timed GPUs (A100, H100, H200, L40S and B200 in `hardware-profiles/`), which
 * lie within these bands of one another.
 */
const typical = {
  gemm: {
    computeEfficiency: 0.75,
    bandwidthEfficiency: 0.8,
    halfRamps: [30, 100, 90],
    sharpness: 2.5,
    overheadMs: 0.003,
  },
  prefill: {
    computeEfficiency: 0.5,
    bandwidthEfficiency: 0.6,
    halfRamps: [400, 4],
    sharpness: 1.5,
    overheadMs: 0.012,
  },
  decode: {
    computeEfficiency: 0.2,
    bandwidthEfficiency: 0.8,
    halfRamps: [200, 20],
    sharpness: 1.5,
    overheadMs: 0.008,
  },
} as const;
const band = { low: 0.5, high: 2 } as const;

/** @param name a key of `knownDevices` */
export function datasheetProfile(name: string): HardwareProfile {
  const { facts, provenance } = knownDevices[name]!;
  const kinds: readonly GemmKind[] = (['fp32', 'bf16', 'fp8', 'int8'] as const).filter(
    (kind) => kind in facts.peakFlops,
  );
  const wide = facts.peakFlops['bf16'] === undefined ? 'fp32' : 'bf16';
  const model = (kind: GemmKind, part: keyof typeof typical): KernelModel => ({
    flopsPerSecond: peaksOf(facts, kind).flopsPerSecond,
    smooth: { ...typical[part], halfRamps: [...typical[part].halfRamps] },
    bands: [{ ...band }],
  });
  const attention = (part: 'prefill' | 'decode'): HardwareProfile['prefill'] =>
    kvFormats.map((kv) => ({ format: wide, kv, headDim: 128, model: model(wide, part) }));
  return {
    schema: 'puzzle/hardware-profile@1',
    name,
    stack: 'datasheet',
    device: facts,
    gemm: kinds.map((kind) => ({ kind, model: model(kind, 'gemm') })),
    prefill: attention('prefill'),
    decode: attention('decode'),
    streaming: { bandwidthEfficiency: 0.75, overheadMs: 0.002, band: { ...band }, source: 'extrapolated' },
    allReduce: [],
    provenance: [...provenance],
  };
}
