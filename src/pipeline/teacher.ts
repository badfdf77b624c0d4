/** The teacher of a run: its checkpoint at once, its weights on a runtime only when some job needs them. */
import {
  checkpointSource,
  closeExecution,
  openExecution,
  type Execution,
  type WeightSource,
} from '../execution/index.ts';
import { bundledTeacher, openModel, type Checkpoint } from '../model/index.ts';
import { openRuntime } from '../runtime/index.ts';

type RuntimeOptions = Parameters<typeof openRuntime>[0];

export interface Teacher {
  readonly checkpoint: Checkpoint;
  readonly source: WeightSource;
  readonly isBundled: boolean;
  readonly runtimeOptions: RuntimeOptions;
  /** The teacher on a runtime, opened at the first call: a run whose jobs are all finished never loads it. */
  execution(): Promise<Execution>;
  close(): Promise<void>;
}

/** @throws PuzzleError of `openModel` */
export async function openTeacher(path: string, runtimeOptions: RuntimeOptions): Promise<Teacher> {
  const checkpoint = await openModel(path);
  const source = checkpointSource(checkpoint);
  let opened: Promise<Execution> | undefined;
  return {
    checkpoint,
    source,
    isBundled: path === bundledTeacher,
    runtimeOptions,
    execution: () =>
      (opened ??= openRuntime(runtimeOptions).then((runtime) => openExecution(source, runtime))),
    async close() {
      const execution = await opened?.catch(() => undefined);
      if (execution !== undefined) {
        await closeExecution(execution);
        await execution.runtime.close();
      }
      await checkpoint.close();
    },
  };
}
