/** Times whole requests of a model on the CPU, as `puzzle generate` runs them: what the times of its parts must sum to. */
import type { Architecture } from '../../model/index.ts';
import type { Runtime } from '../../runtime/index.ts';
import { prefillPlan, type Workload } from '../workload.ts';
import { openRandomDecoder } from './random-decoder.ts';
import { undisturbed } from './timed.ts';

/** Milliseconds of a batch's prefill and of all its decode steps. */
export interface RequestTime {
  readonly prefillMs: number;
  readonly decodeMs: number;
}

/**
 * Step by step the undisturbed time of some requests. All prompts are filled in one pass: the workload's batch must be
 * one prefill pass.
 */
export async function timeRequests(
  architecture: Architecture,
  w: Workload,
  requests: number,
  runtime: Runtime,
): Promise<RequestTime> {
  if (prefillPlan(w).attentionPasses !== 1) throw new RangeError('the batch needs several prefill passes');
  const capacity = w.inputTokens + w.outputTokens;
  const decoder = await openRandomDecoder(architecture, w.batch, capacity, runtime);
  const prefill: number[] = [];
  const steps = Array.from({ length: w.outputTokens }, (): number[] => []);
  try {
    await decoder.pass(0, w.inputTokens); // warms up
    await decoder.pass(w.inputTokens, 1);
    for (let request = 0; request < requests; request++) {
      prefill.push(await decoder.pass(0, w.inputTokens));
      for (const [step, samples] of steps.entries())
        samples.push(await decoder.pass(w.inputTokens + step, 1));
    }
  } finally {
    await decoder.close();
  }
  return {
    prefillMs: undisturbed(prefill),
    decodeMs: steps.reduce((sum, samples) => sum + undisturbed(samples), 0),
  };
}
