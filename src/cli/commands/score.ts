/** `puzzle score`: the damage of every alternative, one replaced at a time. */
import { blockOf } from '../../blocks/index.ts';
import { distil, score, type Prepared } from '../../pipeline/index.ts';
import { meanInterval, type Interval } from '../../util/interval.ts';
import { textTable } from '../../util/text-table.ts';
import { formatNumber } from '../../util/units.ts';
import { defineCommand } from '../command.ts';
import { runOptions, withPreparedRun } from '../run-options.ts';

export const scoreCommand = defineCommand({
  command: 'score',
  describe: 'Score every block of the library, replaced alone in the teacher (distils what is missing)',
  options: (yargs) => yargs.options(runOptions),
  run: (args, { print, report }) =>
    withPreparedRun(args, report, async (prepared, store) => {
      const library = await distil(prepared, store, report);
      const blocks = scoresOf(prepared, await score(prepared, library, store, report));
      print({ schema: 'puzzle/scores@1', text: prepared.texts.score.name, blocks }, () =>
        textTable([
          ['layer', 'slot', 'block', 'KL', '95 % interval', 'loss', 'top-1 agreement'],
          ...blocks.map(({ layer, slot, block, kl, loss, top1Agreement }) => [
            String(layer),
            slot,
            block,
            formatNumber(kl.value),
            `${formatNumber(kl.low)} to ${formatNumber(kl.high)}`,
            formatNumber(loss.value),
            `${(100 * top1Agreement.value).toFixed(1)} %`,
          ]),
        ]),
      );
    }),
});

interface BlockScoreDocument {
  readonly layer: number;
  readonly slot: string;
  readonly block: string;
  /** 95 % intervals over windows. */
  readonly kl: Interval;
  readonly loss: Interval;
  readonly top1Agreement: Interval;
}

type Scores = Awaited<ReturnType<typeof score>>;

function scoresOf({ teacher }: Prepared, scores: Scores): readonly BlockScoreDocument[] {
  return teacher.checkpoint.architecture.slots.flatMap(({ layer, kind, block }, slot) =>
    scores[slot]!.map(({ config, kl, loss, agreement }) => ({
      layer,
      slot: kind,
      block: blockOf(config).label(config, block),
      kl: meanInterval(kl),
      loss: meanInterval(loss),
      top1Agreement: meanInterval(agreement),
    })),
  );
}
