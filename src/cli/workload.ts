/** A workload from the flags that describe it. */
import { workload, type Workload } from '../hardware/index.ts';
import { wholeNumber } from './options.ts';

type Format = 'fp8' | 'bf16' | 'fp16' | 'int8' | 'fp32';

interface WorkloadArguments {
  readonly batch?: number | undefined;
  readonly input?: number | undefined;
  readonly output?: number | undefined;
  readonly weights?: Format | undefined;
  readonly kv?: Format | undefined;
  readonly tp?: number | undefined;
}

/** What is served when nothing says otherwise. */
const usual: Workload = workload({ batch: 64, inputTokens: 1024, outputTokens: 1024 });

/** @param base what flags that are not given mean */
export function workloadFrom(args: WorkloadArguments, base: Workload = usual): Workload {
  return workload({
    ...base,
    batch: wholeNumber(args.batch ?? base.batch, 'batch'),
    inputTokens: wholeNumber(args.input ?? base.inputTokens, 'input'),
    outputTokens: wholeNumber(args.output ?? base.outputTokens, 'output', 0),
    weights: args.weights ?? base.weights,
    kv: args.kv ?? base.kv,
    tensorParallel: wholeNumber(args.tp ?? base.tensorParallel, 'tp'),
  });
}
