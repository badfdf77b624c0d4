/** The teacher's residual stream over calibration text: on the device, in chunks, one place of the model at a time. */
import { add, graph, input } from '../graph/index.ts';
import { blockOf } from '../blocks/index.ts';
import {
  embed,
  remember,
  runBlock,
  type Execution,
  type PlacedBlock,
  type Windows,
} from '../execution/index.ts';
import type { TokenWindows } from '../model/index.ts';
import type { Resident } from '../runtime/index.ts';

/** Some windows at one slot. */
export interface StreamChunk {
  readonly windows: Windows;
  /** The stream before the slot: (batch * tokens, hidden). */
  readonly before: Resident;
  /** What the teacher's block adds there: (batch * tokens, hidden). */
  readonly delta: Resident;
}

/** A chunk between two slots. */
export type StreamState = Pick<StreamChunk, 'windows' | 'before'>;

export const rowsOf = ({ windows }: StreamState): number => windows.batch * windows.tokens;

/** The stream before the first slot, in chunks of about `chunkTokens` tokens; the last may be smaller. */
export async function embedWindows(
  model: Execution,
  { ids, window: tokens, count }: TokenWindows,
  chunkTokens: number,
): Promise<readonly StreamState[]> {
  const largest = Math.max(1, Math.floor(chunkTokens / tokens));
  const states: StreamState[] = [];
  for (let first = 0; first < count; first += largest) {
    const windows = { batch: Math.min(largest, count - first), tokens };
    const chunk = ids.slice(first * tokens, (first + windows.batch) * tokens);
    states.push({ windows, before: await embed(model, chunk, windows) });
  }
  return states;
}

/** The stream after a slot; the chunks are used up. */
export async function advance(
  { runtime, worker }: Execution,
  chunks: readonly StreamChunk[],
): Promise<readonly StreamState[]> {
  const states: StreamState[] = [];
  for (const { windows, before, delta } of chunks) {
    const { stream } = await runtime.run(
      residualSum(before.shape),
      { before, delta },
      { keep: ['stream'], worker },
    );
    await runtime.release(before, delta);
    states.push({ windows, before: stream });
  }
  return states;
}

/** The stream after a block whose output nobody asks for; the states are used up, or the answer where it adds nothing. */
export async function skip(
  model: Execution,
  block: PlacedBlock,
  states: readonly StreamState[],
): Promise<readonly StreamState[]> {
  if (blockOf(block.config).output === undefined) return states;
  const after: StreamState[] = [];
  for (const { windows, before } of states) {
    const { stream } = await runBlock(model, block, before, windows, ['stream']);
    await model.runtime.release(before);
    after.push({ windows, before: stream });
  }
  return after;
}

export const residentsOf = ({ before, delta }: StreamState & Partial<StreamChunk>): readonly Resident[] =>
  delta === undefined ? [before] : [before, delta];

const residualSum = (shape: readonly number[]) =>
  remember(['residual sum', shape], () =>
    graph({ stream: add(input('before', 'float32', shape), input('delta', 'float32', shape)) }),
  );
