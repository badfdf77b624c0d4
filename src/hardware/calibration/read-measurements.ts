/** Reads measured kernel latencies (CSV, gzipped or not) as samples: the columns of the AIConfigurator collections. */
import { readFileSync } from 'node:fs';
import { gunzipSync } from 'node:zlib';
import { PuzzleError } from '../../util/errors.ts';
import { attentionCoordinates, attentionWork, gemmCoordinates, gemmWork } from '../kernel-call.ts';
import type { GemmKind, KernelCall } from '../kernel-call.ts';
import type { Sample } from './sample.ts';

/** Names of the collections, and what we call the same kernel. */
const gemmNames: Readonly<Record<string, GemmKind>> = {
  bfloat16: 'bf16',
  bf16: 'bf16',
  float16: 'fp16',
  fp16: 'fp16',
  fp32: 'fp32',
  fp8: 'fp8',
  fp8_block: 'fp8-block',
  nvfp4: 'nvfp4',
  sq: 'int8',
  int8: 'int8',
  int8_wo: 'int8-weights',
  int4_wo: 'int4-weights',
};

const attentionNames: Readonly<Record<string, 'bf16' | 'fp8'>> = {
  bfloat16: 'bf16',
  bf16: 'bf16',
  fp8: 'fp8',
};

/** Kernels that tables hold. */
export type TimedCall = Extract<KernelCall, { readonly op: 'gemm' | 'attention' }>;

/** A row of a table: the call it names, and its time where the table has one. */
export interface MeasuredRow {
  readonly kernel: TimedCall;
  readonly latencyMs: number | undefined;
}

/**
 * Rows of a table of kernel calls: `dtype,m,n,k` or `attn_dtype,kv_dtype,head_dim,window,heads,kv_heads,batch` with
 * `seq` (prefill) or `kv_len` (decode); `latency_ms` may be there or not.
 * @throws PuzzleError `file-missing`, or `file-invalid` naming the line and column.
 */
export function readRows(file: string): readonly MeasuredRow[] {
  const lines = readText(file).split(/\r?\n/);
  const header = (lines[0] ?? '').split(',').map((name) => name.trim());
  const column = new Map(header.map((name, i) => [name, i]));
  const parse = parserFor(column, file);
  return lines.slice(1).flatMap((line, i) => (line.trim() === '' ? [] : [parse(line.split(','), i + 2)]));
}

function readText(file: string): string {
  try {
    const bytes = readFileSync(file);
    return (file.endsWith('.gz') ? gunzipSync(bytes) : bytes).toString('utf8');
  } catch (cause) {
    throw new PuzzleError('file-missing', `cannot read "${file}"`, {
      at: file,
      cause,
      fix: 'Give a CSV file, gzipped or not.',
    });
  }
}

type ParseRow = (cells: readonly string[], line: number) => MeasuredRow;

function parserFor(column: ReadonlyMap<string, number>, file: string): ParseRow {
  const fail = (line: number, name: string, value: unknown, fix: string): never => {
    throw new PuzzleError('file-invalid', `${name} of a measured row is wrong`, {
      at: `${file}: line ${line}: ${name}`,
      value,
      fix,
    });
  };
  const text = (cells: readonly string[], name: string): string => cells[column.get(name)!]?.trim() ?? '';
  const count = (cells: readonly string[], name: string, line: number, least = 1): number => {
    const value = Number(text(cells, name));
    return Number.isInteger(value) && value >= least
      ? value
      : fail(line, name, text(cells, name), `Give a whole number from ${least}.`);
  };
  const named = <T>(
    names: Readonly<Record<string, T>>,
    cells: readonly string[],
    name: string,
    line: number,
  ): T =>
    names[text(cells, name)] ??
    fail(line, name, text(cells, name), `Give one of: ${Object.keys(names).join(', ')}.`);
  const latency = (cells: readonly string[], line: number): number | undefined => {
    if (!column.has('latency_ms')) return undefined;
    const ms = Number(text(cells, 'latency_ms'));
    return ms > 0
      ? ms
      : fail(line, 'latency_ms', text(cells, 'latency_ms'), 'Give a positive number of milliseconds.');
  };
  const has = (...names: readonly string[]): boolean => names.every((name) => column.has(name));

  if (has('dtype', 'm', 'n', 'k')) {
    return (cells, line) => ({
      kernel: {
        op: 'gemm',
        call: {
          kind: named(gemmNames, cells, 'dtype', line),
          m: count(cells, 'm', line),
          n: count(cells, 'n', line),
          k: count(cells, 'k', line),
        },
      },
      latencyMs: latency(cells, line),
    });
  }
  if (
    has('attn_dtype', 'kv_dtype', 'head_dim', 'window', 'heads', 'kv_heads', 'batch') &&
    (has('seq') || has('kv_len'))
  ) {
    const phase = has('kv_len') ? 'decode' : 'prefill';
    return (cells, line) => {
      const window = count(cells, 'window', line, 0);
      const heads = count(cells, 'heads', line);
      const kvHeads = count(cells, 'kv_heads', line);
      if (heads % kvHeads !== 0) fail(line, 'kv_heads', kvHeads, `Give a divisor of the ${heads} heads.`);
      return {
        kernel: {
          op: 'attention',
          call: {
            phase,
            format: named(attentionNames, cells, 'attn_dtype', line),
            kv: named(attentionNames, cells, 'kv_dtype', line),
            heads,
            kvHeads,
            headDim: count(cells, 'head_dim', line),
            ...(window > 0 && { window }),
            batch: count(cells, 'batch', line),
            length: count(cells, phase === 'decode' ? 'kv_len' : 'seq', line),
          },
        },
        latencyMs: latency(cells, line),
      };
    };
  }
  throw new PuzzleError('file-invalid', 'no table of kernel calls', {
    at: `${file}: line 1`,
    value: [...column.keys()].join(','),
    fix: 'Give the columns dtype,m,n,k or attn_dtype,kv_dtype,head_dim,window,heads,kv_heads,batch and seq or kv_len.',
  });
}

/** A measured row as calibration takes it. */
export function sampleOf({ op, call }: TimedCall, ms: number): Sample {
  return op === 'gemm'
    ? { work: gemmWork(call), at: gemmCoordinates(call), first: call.m, ms, shape: `${call.n}x${call.k}` }
    : {
        work: attentionWork(call),
        at: attentionCoordinates(call),
        first: call.length,
        ms,
        shape: `${call.heads}/${call.kvHeads}x${call.headDim}`,
      };
}
