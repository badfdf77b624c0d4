/** A search result, its budgets and its layers as text for a terminal. */
import type { BudgetReport, Scenario, SearchResultDocument, Solution } from '../search/index.ts';
import { layersOf, measureValue } from '../search/index.ts';
import { textTable } from '../util/text-table.ts';
import { formatAmount, formatNumber, unitFor } from '../util/units.ts';

/** Status, score, budgets, layers, proof. */
export function renderSearchResult(
  scenario: Scenario,
  solutions: readonly Solution[],
  reports: readonly BudgetReport[],
): string {
  const solution = solutions[0]!;
  const parts = [
    headline(scenario, solution),
    renderMeasures(scenario, solution, reports),
    renderLayers(layersOf(scenario, solution.choice)),
  ];
  if (solutions.length > 1) parts.push(renderSolutions(scenario, solutions));
  return parts.join('\n\n');
}

function headline(
  { problem: { objective } }: Scenario,
  { status, value, bound, gap, solver, milliseconds, nodes }: Solution,
): string {
  const proof =
    status === 'optimal'
      ? 'proven: no other architecture within the budgets is better'
      : `not proven: nothing is better than ${formatNumber(bound)}, gap ${formatNumber(gap * 100)} %`;
  return `${objective.metric} ${formatNumber(value)} (${proof})\n${solver}: ${formatNumber(milliseconds)} ms, ${nodes} nodes`;
}

function renderMeasures(scenario: Scenario, { totals }: Solution, reports: readonly BudgetReport[]): string {
  const { measures, problem } = scenario;
  if (measures.length === 0) return '';
  const teacherTotals = problem.resources.map(({ fixed }, r) =>
    problem.groups.reduce(
      (sum, { alternatives }, g) => sum + alternatives[scenario.teacher[g]!]!.uses[r]!,
      fixed,
    ),
  );
  const rows = measures.map((measure) => {
    const { name, quantity, resource } = measure;
    const used = measureValue(measure, totals[resource]!);
    const teacher = measureValue(measure, teacherTotals[resource]!);
    const report = reports.find(({ limit }) => limit.measure === measure);
    return [
      name,
      formatAmount(used, quantity),
      formatAmount(teacher, quantity),
      teacher > 0 ? `${formatNumber((100 * used) / teacher)} %` : '-',
      report === undefined ? '-' : formatAmount(report.limit.value, quantity),
      report === undefined ? '-' : report.binding ? 'binding' : 'slack',
      report === undefined ? '-' : renderShadowPrice(report, problem.objective.metric),
    ];
  });
  return textTable([['', 'student', 'teacher', 'share', 'budget', '', 'shadow price'], ...rows]);
}

/** `0.031 kl_div per GiB` */
export function renderShadowPrice(
  { limit: { measure, value }, shadowPrice }: BudgetReport,
  metric: string,
): string {
  if (shadowPrice === undefined) return 'no duals from this solver';
  if (shadowPrice === 0) return '-';
  const { scale, suffix } = unitFor(value, measure.quantity);
  const unit = suffix.trim();
  return `${formatNumber(shadowPrice * scale)} ${metric} per ${/^[TBMK]?$/.test(unit) ? `${unit} ${measure.name}`.trim() : unit}`;
}

/** Equal neighbours on one line: `12..17  8 kv heads  no-op`. */
function renderLayers(layers: SearchResultDocument['layers']): string {
  const rows: { from: number; to: number; blocks: string; cells: string[]; score: number }[] = [];
  for (const { index, attention, ffn, score, variant } of layers) {
    const cells = attention === null && ffn === null ? [variant ?? '-', ''] : [attention ?? '-', ffn ?? '-'];
    const blocks = cells.join('\n');
    const last = rows.at(-1);
    if (last !== undefined && last.blocks === blocks && last.to === index - 1) {
      last.to = index;
      last.score += score;
    } else rows.push({ from: index, to: index, blocks, cells, score });
  }
  return textTable([
    ['layers', 'attention', 'ffn', 'score'],
    ...rows.map(({ from, to, cells, score }) => [
      from === to ? `${from}` : `${from}..${to}`,
      ...cells,
      formatNumber(score),
    ]),
  ]);
}

function renderSolutions({ problem, measures }: Scenario, solutions: readonly Solution[]): string {
  const first = solutions[0]!.choice;
  return textTable([
    ['solution', problem.objective.metric, ...measures.map(({ name }) => name), 'layers unlike the first'],
    ...solutions.map(({ value, totals, choice }, s) => [
      String(s + 1),
      formatNumber(value),
      ...measures.map((measure) =>
        formatAmount(measureValue(measure, totals[measure.resource]!), measure.quantity),
      ),
      String(new Set(problem.groups.flatMap(({ layer }, g) => (choice[g] === first[g] ? [] : [layer]))).size),
    ]),
  ]);
}
