/** Times parts of a model on this machine. */
import type { StreamConfig } from '../../model/index.ts';
import type { Runtime } from '../../runtime/index.ts';
import { timeInLoop } from './loop-timing.ts';
import { timeInStrip } from './strip-timing.ts';
import type { Timed, Timing } from './timed.ts';

/**
 * Times a part with random weights: kernels take the same time whatever the numbers. On a CPU in a strip of copies, as
 * a model runs it; on devices with memory of their own in a loop on the device, so that transfers cancel.
 *
 * @param modelBytes of the weights of the model that the part belongs to
 */
export const timePart = (
  timed: Timed,
  stream: StreamConfig,
  modelBytes: number,
  runtime: Runtime,
): Promise<Timing> =>
  runtime.device === 'cpu'
    ? timeInStrip(timed, stream, modelBytes, runtime)
    : timeInLoop(timed, stream, runtime);
