/** What the host thread and a worker say to each other. Tensors move: their ArrayBuffers are transferred. */
import type { Tensor } from '../tensor/tensor.ts';
import type { Device } from './device.ts';

/** Given to a worker when it starts. */
export interface WorkerOptions {
  readonly device: Device;
  /** Threads one operator may use. */
  readonly threads: number;
}

/** The number under which a worker holds a tensor that stays. */
export type ResidentId = number;

export interface RunRequest {
  readonly kind: 'run';
  /** Content hash of the graph, the session's key. */
  readonly program: string;
  /** ONNX bytes, present the first time a worker meets the program. */
  readonly bytes?: Uint8Array<ArrayBuffer>;
  /** Programs whose sessions make room for this one. */
  readonly evict: readonly string[];
  readonly feeds: Readonly<Record<string, Tensor | ResidentId>>;
  /** Outputs that stay in the worker; the rest is transferred back. */
  readonly keep: Readonly<Record<string, ResidentId>>;
}

export type Request =
  | RunRequest
  | { readonly kind: 'upload'; readonly resident: ResidentId; readonly tensor: Tensor }
  | { readonly kind: 'download'; readonly resident: ResidentId }
  | { readonly kind: 'release'; readonly residents: readonly ResidentId[] }
  | { readonly kind: 'close' };

/** What a worker answers: tensors by name, and the type alone of those that stay. */
export type Answer = Readonly<Record<string, Tensor | Omit<Tensor, 'data'>>>;

export type Reply =
  | { readonly id: number; readonly answer: Answer }
  | { readonly id: number; readonly failure: string };

export interface Envelope {
  readonly id: number;
  readonly request: Request;
}
