/** Bandwidth efficiency and overhead of work that only moves bytes. */
import { readFileSync } from 'node:fs';
import { gunzipSync } from 'node:zlib';
import { fp8ScaleBytes } from '../call-time.ts';
import type { DeviceFacts, Streaming } from '../profile.ts';
import { smoothTimeMs } from '../smooth.ts';
import { bandsOf } from './cross-validate.ts';
import { fitSmooth } from './fit-smooth.ts';
import type { Sample } from './sample.ts';

type Row = Readonly<Record<string, number>>;

/** Bytes per token of each operator, in 16 bits: a residual sum reads two streams and writes one, a norm reads and writes. */
const vidurColumns: Readonly<Record<string, (row: Row) => number>> = {
  add_ms: ({ n_embd: hidden }) => 3 * hidden! * 2,
  input_layernorm_ms: ({ n_embd: hidden }) => 2 * hidden! * 2,
  mlp_act_ms: ({ n_expanded_embd: width, tp }) => (3 * width! * 2) / tp!,
};

/** One line for all memory-bound operators, from Vidur's medians of real models. */
export function fitVidur(file: string, device: DeviceFacts): Streaming {
  const samples = readTable(file).flatMap((row) =>
    Object.entries(vidurColumns).flatMap(([column, bytesPerToken]) =>
      row[column]! > 0 ? [sampleOf(column, row['num_tokens']! * bytesPerToken(row), row[column]!)] : [],
    ),
  );
  return fitLine(samples, device);
}

/** What finding an fp8 scale costs: `m,k,latency_ms`. */
export function fitFp8Scale(file: string, device: DeviceFacts): Streaming {
  const samples = readTable(file).map((row) =>
    sampleOf(String(row['k']), fp8ScaleBytes(row['m']!, row['k']!), row['latency_ms']!),
  );
  return fitLine(samples, device);
}

function readTable(file: string): readonly Row[] {
  const [header = '', ...lines] = gunzipSync(readFileSync(file)).toString('utf8').trim().split(/\r?\n/);
  const names = header.split(',');
  return lines.map((line) => {
    const cells = line.split(',');
    return Object.fromEntries(names.map((name, i) => [name, Number(cells[i])]));
  });
}

const sampleOf = (shape: string, bytes: number, ms: number): Sample => ({
  work: { flops: 0, bytes, ramps: [] },
  at: {},
  first: bytes,
  ms,
  shape,
});

/** Its band comes from all rows: two parameters cannot overfit thousands of them, they miss what tells operators apart. */
function fitLine(samples: readonly Sample[], device: DeviceFacts): Streaming {
  const peaks = { flopsPerSecond: device.peakFlops['bf16']!, bytesPerSecond: device.bandwidthBytesPerSecond };
  const smooth = fitSmooth(samples, peaks);
  const errors = samples.map(({ shape, first, work, ms }) => ({
    shape,
    fold: 0,
    first,
    logError: Math.log(ms / smoothTimeMs(smooth, work, peaks)),
  }));
  const { low, high } = bandsOf(errors, 1)[0]!;
  const { bandwidthEfficiency, overheadMs } = smooth;
  return { bandwidthEfficiency, overheadMs, band: { low, high }, source: 'fitted' };
}
