/** `--batch` of a search: one batch, a list, a range, or `best`; and the table of what each gave. */
import type { BatchSweep, Scenario } from '../search/index.ts';
import { PuzzleError } from '../util/errors.ts';
import { textTable } from '../util/text-table.ts';
import { formatAmount, formatNumber } from '../util/units.ts';

/** What `best` tries: every doubling that servers are run at. */
const usualBatches = [1, 2, 4, 8, 16, 32, 64, 128, 256, 512] as const;
const mostBatches = 1000;
const largestBatch = 1_000_000;

/**
 * The batches that a flag asks for: `64`, `16,64,256`, `1..64`, `best`; undefined without a flag.
 * @throws PuzzleError `bad-usage`
 */
export function batchesFrom(flag: string | undefined): readonly number[] | undefined {
  if (flag === undefined) return undefined;
  if (flag === 'best') return usualBatches;
  const batches = flag.split(',').flatMap((part) => {
    const [, from, to = from] = /^(\d{1,7})(?:\.\.(\d{1,7}))?$/.exec(part.trim()) ?? [];
    const count = Number(to) - Number(from) + 1;
    if (from === undefined || count < 1 || count > mostBatches) return [Number.NaN];
    return Array.from({ length: count }, (_, k) => Number(from) + k);
  });
  const usable = batches.every((batch) => batch >= 1 && batch <= largestBatch);
  if (usable && batches.length > 0 && batches.length <= mostBatches) return [...new Set(batches)];
  throw new PuzzleError('bad-usage', `--batch ${flag}: takes a batch, a list, a range, or best`, {
    at: '--batch',
    value: flag,
    fix: `Write it like 64, 16,64,256, 1..64 or best; at most ${mostBatches} of them.`,
  });
}

/** One line per batch: what the best architecture scores and costs there. */
export function renderBatches(scenario: Scenario, { rows, best }: BatchSweep): string {
  return textTable([
    ['batch', scenario.problem.objective.metric, 'throughput', ''],
    ...rows.map((row) => [
      String(row.batch),
      row.solution.choice.length > 0 ? formatNumber(row.solution.value) : row.solution.status,
      row.throughput === undefined ? '-' : formatAmount(row.throughput, 'rate'),
      row === best ? 'best' : '',
    ]),
  ]);
}
