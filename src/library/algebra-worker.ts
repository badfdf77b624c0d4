/** A worker thread for the float64 work, so that progress and Ctrl-C go on while a slot is solved. */
import { parentPort } from 'node:worker_threads';
import type { Weights } from '../blocks/index.ts';
import type { Tensor } from '../tensor/tensor.ts';
import { PuzzleError, type ErrorCode, type ErrorContext } from '../util/errors.ts';
import { closedForms, type ClosedForm, type SlotProblem } from './closed-form.ts';

/** Answers come in the order of the problems. */
export type AlgebraReply =
  | { readonly solved: readonly (ClosedForm | undefined)[] }
  | {
      readonly expected: {
        readonly code: ErrorCode;
        readonly message: string;
        readonly context: ErrorContext;
      };
    }
  | { readonly failure: string };

parentPort!.on('message', (problem: SlotProblem) => {
  const reply = answer(problem);
  const solved = 'solved' in reply ? reply.solved : [];
  const buffers = solved.flatMap((form) => (form === undefined ? [] : buffersOf(form.weights)));
  parentPort!.postMessage(reply, [...new Set(buffers)]);
});

function answer(problem: SlotProblem): AlgebraReply {
  try {
    return { solved: closedForms(problem) };
  } catch (error) {
    if (error instanceof PuzzleError) {
      const { code, message, context } = error;
      return { expected: { code, message, context } };
    }
    return { failure: error instanceof Error ? (error.stack ?? error.message) : String(error) };
  }
}

const buffersOf = (weights: Weights<Tensor<'float32'>>): ArrayBuffer[] =>
  Object.values(weights).map(({ data }) => data.buffer as ArrayBuffer);
