/** A workload from the flags that describe it. */
import { workload, type Workload } from '../hardware/index.ts';
import { PuzzleError } from '../util/errors.ts';
import { parseAmount } from '../util/units.ts';
import { wholeNumber } from './options.ts';

interface WorkloadArguments {
  readonly batch?: number | undefined;
  readonly input?: number | undefined;
  readonly output?: number | undefined;
  readonly weights?: Workload['weights'] | undefined;
  readonly kv?: Workload['kv'] | undefined;
  readonly tp?: number | undefined;
  readonly embeddings?: Workload['embeddings'] | undefined;
  readonly fp8Scales?: Workload['fp8Scales'] | undefined;
  readonly chunkedPrefill?: boolean | undefined;
  readonly prefillTokens?: number | undefined;
  readonly kvPage?: number | undefined;
  readonly reserve?: string | undefined;
}

/** What is served when nothing says otherwise. */
const usual: Workload = workload({ batch: 64, inputTokens: 1024, outputTokens: 1024 });

/** @param base what flags that are not given mean */
export function workloadFrom(args: WorkloadArguments, base: Workload = usual): Workload {
  const { embeddings, reserve } = args;
  return workload({
    ...base,
    batch: wholeNumber(args.batch ?? base.batch, 'batch'),
    inputTokens: wholeNumber(args.input ?? base.inputTokens, 'input'),
    outputTokens: wholeNumber(args.output ?? base.outputTokens, 'output', 0),
    weights: args.weights ?? base.weights,
    kv: args.kv ?? base.kv,
    tensorParallel: wholeNumber(args.tp ?? base.tensorParallel, 'tp'),
    fp8Scales: args.fp8Scales ?? base.fp8Scales,
    chunkedPrefill: args.chunkedPrefill ?? base.chunkedPrefill,
    prefillTokens: wholeNumber(args.prefillTokens ?? base.prefillTokens, 'prefill-tokens'),
    kvPageTokens: wholeNumber(args.kvPage ?? base.kvPageTokens, 'kv-page'),
    ...(embeddings !== undefined && { embeddings }),
    ...(reserve !== undefined && { reserveBytes: reserveBytes(reserve) }),
  });
}

function reserveBytes(text: string): number {
  if (/^0+$/.test(text)) return 0;
  const amount = parseAmount(text, 'bytes', '--reserve');
  if (amount.kind === 'absolute') return Math.round(amount.value);
  throw new PuzzleError('bad-unit', `--reserve ${text}: takes a size`, {
    at: '--reserve',
    value: text,
    fix: 'Write it like 2GiB or 500MiB.',
  });
}
