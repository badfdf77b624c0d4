/** What the outputs of every slot matter to the teacher's predictions, one stored job per slot. */
import { join } from 'node:path';
import { matrix, type Matrix } from '../algebra/index.ts';
import { sensitivities } from '../library/index.ts';
import type { ReportProgress } from '../util/progress.ts';
import { readFloats, writeFloats } from './float-file.ts';
import type { LibraryStageInput } from './library-stage.ts';
import type { JobDescription, Store } from './store.ts';
import { windowsOf } from './texts.ts';

/** Raised when the same inputs give other figures. */
const version = 1;

const fileName = 'sensitivity.f32';

/** Measures whatever the store lacks; undefined where outputs count all alike. */
export async function sensitivityStage(
  { teacher, texts, options, device }: LibraryStageInput,
  store: Store,
  report: ReportProgress,
): Promise<((slot: number) => Promise<Matrix>) | undefined> {
  const { sensitivityTokens = 0 } = options;
  if (sensitivityTokens === 0) return undefined;
  const { calibration } = texts;
  const { stream, slots } = teacher.checkpoint.architecture;
  const windows = Math.max(1, Math.floor(sensitivityTokens / calibration.window));
  const text = windowsOf(calibration, 0, Math.min(calibration.count, windows));
  const job = (slot: number): JobDescription => ({
    stage: 'sensitivity',
    version,
    inputs: { teacher: teacher.checkpoint.identity, text: text.hash, slot, device },
  });
  const found = await Promise.all(slots.map((_, slot) => store.find(job(slot))));
  if (found.some((finished) => finished === undefined))
    for await (const { slot, metric } of sensitivities(await teacher.execution(), text, 0, report))
      await store.run(job(slot), (folder) =>
        writeFloats(join(folder, fileName), Float32Array.from(metric.data)),
      );
  return async (slot) => {
    const values = await readFloats(join((await store.find(job(slot)))!.folder, fileName));
    return matrix(stream.hidden, stream.hidden, Float64Array.from(values));
  };
}
