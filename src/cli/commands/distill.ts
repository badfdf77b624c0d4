/** `puzzle distill`: trains the library of a model and shows what each way of making a block achieved. */
import { blockOf } from '../../blocks/index.ts';
import { distil, type Prepared, type TrainedLibrary } from '../../pipeline/index.ts';
import { textTable } from '../../util/text-table.ts';
import { defineCommand } from '../command.ts';
import { runOptions, withPreparedRun } from '../run-options.ts';

export const distillCommand = defineCommand({
  command: 'distill',
  describe: 'Train the library of alternative blocks (the first stage of search)',
  options: (yargs) => yargs.options(runOptions),
  run: (args, { print, report }) =>
    withPreparedRun(args, report, async (prepared, store) => {
      const library = await distil(prepared, store, report);
      print({ schema: 'puzzle/library@1', store: store.root, blocks: blocksOf(prepared, library) }, () =>
        renderLibrary(prepared, library),
      );
    }),
});

function blocksOf({ teacher }: Prepared, { records }: TrainedLibrary): readonly Record<string, unknown>[] {
  return teacher.checkpoint.architecture.slots.flatMap(({ layer, kind, block }, slot) =>
    records[slot]!.map((record) => ({
      layer,
      slot: kind,
      block: blockOf(record.config).label(record.config, block),
      ...record,
    })),
  );
}

/** Normalised MSE on validation text, mean over layers: 0 is the teacher's block, 1 a block that adds nothing. */
function renderLibrary({ teacher }: Prepared, { records }: TrainedLibrary): string {
  const rows = new Map<
    string,
    { kind: string; block: string; losses: (readonly [number, number, number, number])[] }
  >();
  teacher.checkpoint.architecture.slots.forEach(({ kind, block: own }, slot) => {
    for (const { config, kept, losses } of records[slot]!) {
      if (kept === 'none') continue;
      const block = blockOf(config).label(config, own);
      const row = rows.get(`${kind} ${block}`) ?? { kind, block, losses: [] };
      const { paper = Number.NaN, closedForm = Number.NaN, distilled = Number.NaN } = losses;
      row.losses.push([paper, closedForm, distilled, losses.kept]);
      rows.set(`${kind} ${block}`, row);
    }
  });
  const mean = (values: readonly number[]): string => {
    const finite = values.filter((value) => Number.isFinite(value));
    return finite.length === 0 ? '-' : (finite.reduce((a, b) => a + b, 0) / finite.length).toPrecision(3);
  };
  return textTable([
    ['slot', 'block', "paper's start", 'closed form', 'distilled', 'kept'],
    ...[...rows.values()].map(({ kind, block, losses }) => [
      kind,
      block,
      ...[0, 1, 2, 3].map((column) => mean(losses.map((row) => row[column]!))),
    ]),
  ]);
}
