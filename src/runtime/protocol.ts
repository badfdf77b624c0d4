/** What the host thread and a worker say to each other. Tensors move: their ArrayBuffers are transferred. */
import type { Tensor } from '../tensor/tensor.ts';
import type { Device } from './device.ts';

/** Given to a worker when it starts. */
export interface WorkerOptions {
  readonly device: Device;
  /** Threads one operator may use. */
  readonly threads: number;
  /** Shared memory of `Activity`. */
  readonly activity: SharedArrayBuffer;
}

/** Two flags by which a host that exits waits for the native call under way: to end a thread inside one aborts. */
export const Activity = { bytes: 8, serving: 0, stopping: 1 } as const;

/** The number under which a worker holds a tensor that stays. */
export type ResidentId = number;

interface RunRequest {
  readonly kind: 'run';
  /** The session's key. */
  readonly program: string;
  /** Present the first time a worker meets the program. */
  readonly compile?: {
    /** ONNX. */
    readonly bytes: Uint8Array<ArrayBuffer>;
    /** Whether the session keeps the memory of intermediate values. */
    readonly arena: boolean;
  };
  /** Programs whose sessions make room for this one. */
  readonly evict: readonly string[];
  readonly feeds: Readonly<Record<string, Tensor | ResidentId>>;
  /** Outputs that stay in the worker; the rest is transferred back. */
  readonly keep: Readonly<Record<string, ResidentId>>;
  /** Outputs that are written into tensors held already. */
  readonly into: Readonly<Record<string, ResidentId>>;
}

interface LoadRequest {
  readonly kind: 'load';
  /** The session's key. */
  readonly program: string;
  /** ONNX bytes, or the path of a file. */
  readonly model: Uint8Array<ArrayBuffer> | string;
  /** Names of its inputs and outputs, as the host knows them. */
  readonly ports: readonly string[];
  /** Content of the files that the bytes name as the model's weights. */
  readonly weights: Readonly<Record<string, Uint8Array>>;
}

export type Request =
  | RunRequest
  | LoadRequest
  | { readonly kind: 'unload'; readonly program: string }
  | { readonly kind: 'upload'; readonly resident: ResidentId; readonly tensor: Tensor }
  | { readonly kind: 'download'; readonly resident: ResidentId }
  | { readonly kind: 'release'; readonly residents: readonly ResidentId[] }
  | { readonly kind: 'close' };

export type RequestOf<K extends Request['kind']> = Extract<Request, { kind: K }>;

/** What a worker answers: the tensors that come back, by name. */
export type Answer = Readonly<Record<string, Tensor>>;

export interface Envelope {
  readonly id: number;
  readonly request: Request;
}

export type Reply =
  | { readonly id: number; readonly answer: Answer }
  | { readonly id: number; readonly failure: string };
