/** Datasheet facts of the devices we ship profiles for. Memory: the total that the driver reports. Peaks: dense. */
import type { DeviceFacts, HardwareProfile } from '../profile.ts';

interface KnownDevice {
  readonly facts: DeviceFacts;
  readonly provenance: HardwareProfile['provenance'];
}

const GiB = 2 ** 30;
const MiB = 2 ** 20;

export const knownDevices: Readonly<Record<string, KnownDevice>> = {
  'h100-sxm': {
    facts: {
      description: 'NVIDIA H100 SXM5 80GB',
      memoryBytes: 81559 * MiB,
      bandwidthBytesPerSecond: 3.35e12,
      peakFlops: { fp32: 67e12, bf16: 989.4e12, fp8: 1978.9e12, int8: 1978.9e12 },
      linkBytesPerSecond: 450e9,
      reserveBytes: 2 * GiB,
    },
    provenance: [
      {
        what: 'device',
        source: 'NVIDIA H100 Tensor Core GPU datasheet, dense rates; memory as nvidia-smi reports',
        date: '2024-03-01',
      },
    ],
  },
  'h200-sxm': {
    facts: {
      description: 'NVIDIA H200 SXM5 141GB',
      memoryBytes: 143771 * MiB,
      bandwidthBytesPerSecond: 4.8e12,
      peakFlops: { fp32: 67e12, bf16: 989.4e12, fp8: 1978.9e12, int8: 1978.9e12 },
      linkBytesPerSecond: 450e9,
      reserveBytes: 2 * GiB,
    },
    provenance: [
      {
        what: 'device',
        source: 'NVIDIA H200 Tensor Core GPU datasheet, dense rates; memory as nvidia-smi reports',
        date: '2024-11-01',
      },
    ],
  },
  'a100-sxm': {
    facts: {
      description: 'NVIDIA A100 SXM4 80GB',
      memoryBytes: 81920 * MiB,
      bandwidthBytesPerSecond: 2.039e12,
      peakFlops: { fp32: 19.5e12, bf16: 312e12, int8: 624e12 },
      linkBytesPerSecond: 300e9,
      reserveBytes: 2 * GiB,
    },
    provenance: [
      {
        what: 'device',
        source: 'NVIDIA A100 Tensor Core GPU datasheet, dense rates; memory as nvidia-smi reports',
        date: '2021-06-01',
      },
    ],
  },
  l40s: {
    facts: {
      description: 'NVIDIA L40S 48GB',
      memoryBytes: 46068 * MiB,
      bandwidthBytesPerSecond: 864e9,
      peakFlops: { fp32: 91.6e12, bf16: 362.05e12, fp8: 733e12, int8: 733e12 },
      linkBytesPerSecond: 32e9,
      reserveBytes: 2 * GiB,
    },
    provenance: [
      {
        what: 'device',
        source: 'NVIDIA L40S datasheet, dense rates, PCIe 4 x16; memory as nvidia-smi reports with ECC',
        date: '2023-08-01',
      },
    ],
  },
  b200: {
    facts: {
      description: 'NVIDIA B200 SXM 180GB',
      memoryBytes: 183359 * MiB,
      bandwidthBytesPerSecond: 8e12,
      peakFlops: { fp32: 75e12, bf16: 2.25e15, fp8: 4.5e15, int8: 4.5e15, fp4: 9e15 },
      linkBytesPerSecond: 900e9,
      reserveBytes: 2 * GiB,
    },
    provenance: [
      {
        what: 'device',
        source: 'NVIDIA DGX B200 datasheet, dense rates per GPU; memory as nvidia-smi reports',
        date: '2025-01-01',
      },
    ],
  },
  'rtx-4090': {
    facts: {
      description: 'NVIDIA GeForce RTX 4090 24GB',
      memoryBytes: 24564 * MiB,
      bandwidthBytesPerSecond: 1.008e12,
      peakFlops: { fp32: 82.6e12, bf16: 165.2e12, fp8: 330.3e12, int8: 660.6e12 },
      linkBytesPerSecond: 32e9,
      reserveBytes: 1 * GiB,
    },
    provenance: [
      {
        what: 'device',
        source: 'NVIDIA Ada GPU architecture whitepaper v2.1, dense rates with fp32 accumulation',
        date: '2023-04-01',
      },
    ],
  },
  mi300x: {
    facts: {
      description: 'AMD Instinct MI300X 192GB',
      memoryBytes: 192 * GiB,
      bandwidthBytesPerSecond: 5.3e12,
      peakFlops: { fp32: 163.4e12, bf16: 1307.4e12, fp8: 2614.9e12, int8: 2614.9e12 },
      linkBytesPerSecond: 64e9,
      reserveBytes: 2 * GiB,
    },
    provenance: [
      { what: 'device', source: 'AMD Instinct MI300X datasheet, dense rates', date: '2023-12-01' },
    ],
  },
  'apple-m4-max': {
    facts: {
      description: 'Apple M4 Max, 40 GPU cores, 128GB unified memory',
      memoryBytes: 128 * GiB,
      bandwidthBytesPerSecond: 546e9,
      // 40 cores x 128 lanes x 2 x 1.58 GHz; Apple publishes no rate, 16-bit runs as fast as 32-bit.
      peakFlops: { fp32: 16.2e12, bf16: 16.2e12 },
      reserveBytes: 32 * GiB,
    },
    provenance: [
      {
        what: 'device',
        source:
          'Apple MacBook Pro (2024) specifications; rate derived from cores, lanes and clock; a quarter of memory stays with the system',
        date: '2024-10-01',
      },
    ],
  },
  'generic-cpu': {
    facts: {
      description: 'A laptop: 8 cores, AVX2, 3.2 GHz, two channels of DDR5-4800, 16GB',
      memoryBytes: 16 * GiB,
      bandwidthBytesPerSecond: 76.8e9,
      // 8 cores x 2 FMA units x 8 lanes x 2 x 3.2 GHz.
      peakFlops: { fp32: 819e9 },
      reserveBytes: 2 * GiB,
    },
    provenance: [
      {
        what: 'device',
        source: 'derived: cores x FMA units x lanes x clock; JEDEC DDR5-4800, 128 bits',
        date: '2026-11-24',
      },
    ],
  },
};
