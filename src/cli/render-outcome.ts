/** A finished search on a terminal: the architecture with its proof, the students, where the report lies. */
import { studentLine, type SearchOutcome } from '../pipeline/index.ts';
import { textTable } from '../util/text-table.ts';
import { renderBatches } from './batches.ts';
import { renderSearchResult } from './render-result.ts';

export function renderOutcome(outcome: SearchOutcome, folder: string): string {
  const { scenario, solution, others, batches, budgets, students, prepared } = outcome;
  return [
    renderSearchResult(scenario, [solution, ...others], budgets),
    ...(batches ? [renderBatches(scenario, batches)] : []),
    textTable([
      [`on ${prepared.texts.evaluation[0]!.name}`, 'KL', 'perplexity', 'top-1 agreement'],
      ...students.map(studentLine),
    ]),
    `Report: ${folder}/report.md`,
  ].join('\n\n');
}
