/** Bandwidth efficiency and overhead of memory-bound operators, from Vidur's medians of real models. */
import { readFileSync } from 'node:fs';
import { gunzipSync } from 'node:zlib';
import type { DeviceFacts, HardwareProfile } from '../profile.ts';
import { bandsOf } from './cross-validate.ts';
import { fitSmooth } from './fit-smooth.ts';
import type { Sample } from './sample.ts';
import { smoothTimeMs } from '../smooth.ts';

/** Bytes per token of each column, in 16 bits: a residual sum reads two streams and writes one, a norm reads and writes. */
const columns: Readonly<Record<string, (row: Readonly<Record<string, number>>) => number>> = {
  add_ms: ({ n_embd: hidden }) => 3 * hidden! * 2,
  input_layernorm_ms: ({ n_embd: hidden }) => 2 * hidden! * 2,
  mlp_act_ms: ({ n_expanded_embd: width, tp }) => (3 * width! * 2) / tp!,
};

/**
 * One line for all memory-bound operators. Bands come from all rows: two parameters cannot overfit thousands of rows,
 * what they miss is the difference between operators.
 */
export function fitStreaming(file: string, device: DeviceFacts): HardwareProfile['streaming'] {
  const [header = '', ...lines] = gunzipSync(readFileSync(file)).toString('utf8').trim().split('\n');
  const names = header.split(',');
  const samples = lines.flatMap((line): Sample[] => {
    const cells = line.split(',');
    const row = Object.fromEntries(names.map((name, i) => [name, Number(cells[i])]));
    return Object.entries(columns).flatMap(([column, bytesPerToken]) => {
      const bytes = row['num_tokens']! * bytesPerToken(row);
      const ms = row[column]!;
      return ms > 0
        ? [{ work: { flops: 0, bytes, ramps: [] }, at: {}, first: bytes, ms, shape: column }]
        : [];
    });
  });
  const peaks = { flopsPerSecond: device.peakFlops['bf16']!, bytesPerSecond: device.bandwidthBytesPerSecond };
  const smooth = fitSmooth(samples, peaks);
  const errors = samples.map(({ first, work, ms }) => ({
    first,
    logError: Math.log(ms / smoothTimeMs(smooth, work, peaks)),
  }));
  const { low, high } = bandsOf(errors, 1)[0]!;
  return {
    bandwidthEfficiency: smooth.bandwidthEfficiency,
    overheadMs: smooth.overheadMs,
    band: { low, high },
    source: 'fitted',
  };
}
