/** Progress of writing tensors, counted as they are loaded. */
import type { StoredTensor } from '../tensor/index.ts';
import type { ReportProgress } from '../util/progress.ts';

/** The same tensors, each of which reports when it is loaded. */
export function counted(tensors: readonly StoredTensor[], report: ReportProgress): StoredTensor[] {
  const stage = 'export';
  let done = 0;
  return tensors.map((tensor) => ({
    ...tensor,
    async load() {
      if (done === 0) report({ kind: 'stage-started', stage, total: tensors.length, unit: 'tensors' });
      report({ kind: 'advanced', stage, done: ++done });
      const loaded = await tensor.load();
      if (done === tensors.length) report({ kind: 'stage-finished', stage });
      return loaded;
    },
  }));
}
