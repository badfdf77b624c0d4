/** A workload from the flags that describe it. */
import { workload, workloadSchema, type Workload } from '../hardware/index.ts';
import { wholeNumber } from './options.ts';

/** Defaults of flags that the library mode of a search leaves unset. */
const defaults = { batch: 64, input: 1024 };

export function workloadFrom(args: {
  readonly batch?: number | undefined;
  readonly input?: number | undefined;
  readonly output: number;
  readonly weights: string;
  readonly kv: string;
  readonly tp: number;
}): Workload {
  const { shape } = workloadSchema;
  return workload({
    batch: wholeNumber(args.batch ?? defaults.batch, 'batch'),
    inputTokens: wholeNumber(args.input ?? defaults.input, 'input'),
    outputTokens: wholeNumber(args.output, 'output', 0),
    weights: shape.weights.parse(args.weights),
    kv: shape.kv.parse(args.kv),
    tensorParallel: wholeNumber(args.tp, 'tp'),
  });
}
