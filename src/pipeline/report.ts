/** `report.md`: what was asked, what was found, how sure it is, what distillation and search each bought. */
import { blockOf, blockParameters, modelParameters } from '../blocks/index.ts';
import { latencyMs, type Cost, type Quantity } from '../hardware/index.ts';
import { layersOf, measureValue, teacherValue, totalsOf } from '../search/index.ts';
import type { Interval } from '../util/interval.ts';
import { formatAmount, formatNumber } from '../util/units.ts';
import type { PicturedLayer } from './picture.ts';
import type { SearchOutcome } from './search-run.ts';
import type { EvaluatedCandidate } from './student-stage.ts';

/** Markdown; figures carry their source or their interval. */
export function reportOf(outcome: SearchOutcome, command: string): string {
  const { prepared, hardware } = outcome;
  const { checkpoint, isBundled } = prepared.teacher;
  return [
    `# ${isBundled ? 'Bundled teacher' : checkpoint.path} on ${hardware.name}`,
    proof(outcome),
    '![architecture](architecture.svg)',
    '## Budgets and costs',
    costsTable(outcome),
    costSources(outcome),
    '## Student on text that took part in no choice',
    studentsTable(outcome),
    '## Predicted and measured',
    predictions(outcome),
    ...(outcome.path.length > 0 ? ['## The way to this student', pathTable(outcome)] : []),
    '## Layers',
    layersTable(outcome),
    '## How it was made',
    provenance(outcome, command),
    '',
  ].join('\n\n');
}

function proof({ solution, scenario, path }: SearchOutcome): string {
  const { status, value, bound, gap, solver, milliseconds, nodes } = solution;
  const { metric } = scenario.problem.objective;
  const claim =
    status === 'optimal'
      ? 'Proven optimal: no architecture of this space within these budgets has a smaller sum of scores.'
      : `Not the best sum of scores: that is at least ${formatNumber(bound)} (gap ${formatNumber(100 * gap)} %)${path.length > 0 ? '; this student measured better' : ''}.`;
  return `${claim} Sum of ${metric} ${formatNumber(value)}; ${solver}, ${formatNumber(milliseconds)} ms, ${nodes} nodes; rechecked from the problem.`;
}

function costsTable({ scenario, solution, budgets }: SearchOutcome): string {
  const rows = scenario.measures.map((measure) => {
    const teacher = teacherValue(scenario, measure);
    const student = measureValue(measure, solution.totals[measure.resource]!);
    const budget = budgets.find(({ limit }) => limit.measure === measure);
    return [
      measure.name,
      formatAmount(teacher, measure.quantity),
      formatAmount(student, measure.quantity),
      `${formatNumber((100 * student) / teacher)} %`,
      budget === undefined ? '' : formatAmount(budget.limit.value, measure.quantity),
      budget === undefined ? '' : budget.binding ? 'binding' : 'slack',
    ];
  });
  return markdownTable(['', 'teacher', 'student', 'share', 'budget', ''], rows);
}

function costSources({ costs, solution, workload }: SearchOutcome): string {
  const { batch, inputTokens, outputTokens, weights, kv } = workload;
  const chosen: Cost[] = [
    costs.nonBlock,
    ...costs.alternatives.map((group, slot) => group[solution.choice[slot]!]!),
  ];
  const times = chosen.flatMap(({ prefillMs, decodeMs }): Quantity[] => [prefillMs, decodeMs]);
  const sources = [...new Set(times.filter(({ value }) => value > 0).map(({ source }) => source))];
  const total = chosen.reduce((sum, cost) => sum + latencyMs(cost), 0);
  // Errors of one profile go the same way, so the ends of the bands add up: the widest honest interval.
  const low = times.reduce((sum, { errorBand }) => sum + errorBand.low, 0);
  const high = times.reduce((sum, { errorBand }) => sum + errorBand.high, 0);
  return [
    `Workload: batch ${batch}, ${inputTokens} prompt and ${outputTokens} generated tokens, ${weights} weights, ${kv} KV cache.`,
    `Parameters and bytes are exact. Times are ${sources.join(', ')}: ${formatAmount(total, 'duration')}, 90 % band ${formatAmount(low, 'duration')} to ${formatAmount(high, 'duration')}.`,
  ].join(' ');
}

function studentsTable({ students, prepared, scenario }: SearchOutcome): string {
  const { checkpoint } = prepared.teacher;
  const parameters = scenario.measures.find(({ name }) => name === 'parameters')!;
  return prepared.texts.evaluation
    .map(({ name, window, count }, text) => {
      const rows = students.map(({ name, choice, evaluations }) => {
        const { kl, perplexity, top1Agreement } = evaluations[text]!;
        return [
          name,
          `${formatNumber((100 * totalsOf(scenario.problem, choice)[parameters.resource]!) / modelParameters(checkpoint.architecture))} %`,
          intervalText(kl!),
          intervalText(perplexity),
          percentText(top1Agreement!),
        ];
      });
      return [
        `${name}, ${count} windows of ${window} tokens, 95 % intervals over windows:`,
        markdownTable(['student', 'parameters', 'KL', 'perplexity', 'top-1 agreement'], rows),
      ].join('\n\n');
    })
    .join('\n\n');
}

/** Predicted against real: what scores say of the student, and what the student measures. */
function predictions({ students, scenario, scoring, prepared, training, refit }: SearchOutcome): string {
  const { sumOfScores, withCrossTerms } = scoring;
  const metric = scenario.problem.objective.metric;
  const measured = students.find(({ weights }) => weights === 'library')!;
  return [
    `${scoringText(scoring)} On ${prepared.texts.score.count} windows they say of this student, as the library has its blocks:`,
    markdownTable(
      [metric, ''],
      [
        ['sum of scores', formatNumber(sumOfScores)],
        ...(withCrossTerms === undefined ? [] : [['with cross terms', formatNumber(withCrossTerms)]]),
        ...measured.evaluations.map(({ kl }, text) => [
          `measured KL on ${prepared.texts.evaluation[text]!.name}`,
          intervalText(kl!),
        ]),
        ...(training === undefined && refit === undefined
          ? []
          : [['measured KL on the selection text', intervalText((training ?? refit)!.before)]]),
        ...(training === undefined
          ? []
          : [
              [
                `trained, ${training.gained} of ${training.blocks} blocks gained, on the selection text (${training.accepted ? 'kept' : 'dropped'})`,
                intervalText(training.after),
              ],
            ]),
        ...(refit === undefined
          ? []
          : [
              [
                `refitted, ${refit.share < 1 ? `${100 * refit.share} % of the way, ` : ''}on the selection text (${refit.accepted ? 'kept' : 'dropped'})`,
                intervalText(refit.after),
              ],
            ]),
      ],
    ),
  ].join('\n\n');
}

function scoringText({ method, blocks, measured }: SearchOutcome['scoring']): string {
  if (method === 'replace-one') return `Scores: each of ${blocks} blocks replaced alone in the teacher.`;
  const all = `Scores: one backward pass for ${blocks} blocks`;
  return method === 'one-pass'
    ? `${all}.`
    : `${all}; ${measured} of them, those the budgets are about, replaced alone in the teacher as well.`;
}

/** Students measured on the way from the sum of scores to the one that was kept. */
function pathTable({ path, prepared }: SearchOutcome): string {
  return [
    `Each student was assembled and measured on ${prepared.texts.selection.count} windows that took part in no score; it replaces the best before it when its KL is lower outside the noise of paired differences.`,
    markdownTable(
      ['step', 'predicted', 'measured KL', ''],
      path.map(({ name, predicted, measured, accepted }) => [
        name,
        formatNumber(predicted),
        intervalText(measured),
        accepted ? 'kept' : '',
      ]),
    ),
  ].join('\n\n');
}

function layersTable({ scenario, solution, library }: SearchOutcome): string {
  const kept = (layer: number): string =>
    scenario.problem.groups
      .flatMap((group, slot) =>
        group.layer === layer ? [library.records[slot]![solution.choice[slot]!]!] : [],
      )
      .map(({ kept, losses }) => (kept === 'none' ? '-' : `${kept} (${losses.kept.toPrecision(3)})`))
      .join(', ');
  return markdownTable(
    ['layer', 'attention', 'FFN', 'damage', 'blocks come from (normalised MSE)'],
    layersOf(scenario, solution.choice).map(({ index, attention, ffn, score }) => [
      String(index),
      attention ?? '',
      ffn ?? '',
      formatNumber(score),
      kept(index),
    ]),
  );
}

function provenance({ prepared, hardware }: SearchOutcome, command: string): string {
  const { texts, teacher, space } = prepared;
  return [
    `- Command: \`${command}\``,
    `- Teacher: ${teacher.checkpoint.path}, identity \`${teacher.checkpoint.identity.slice(0, 16)}\``,
    `- Space: ${space.path}`,
    `- Hardware: ${hardware.name} (${hardware.stack}); ${hardware.provenance.join('; ')}`,
    ...[texts.calibration, texts.validation, texts.score, texts.selection].map(
      ({ name, window, count, hash }, index) =>
        `- ${['Calibration', 'Validation', 'Scores', 'Selection'][index]!}: ${name}, ${count} windows of ${window} tokens, \`${hash.slice(0, 16)}\``,
    ),
    '- Exact inputs and versions: `run.json`; the search problem: `problem.json`.',
  ].join('\n');
}

/** The chosen blocks as the picture shows them. */
export function picturedLayers({ prepared, scenario, solution }: SearchOutcome): readonly PicturedLayer[] {
  const { architecture } = prepared.teacher.checkpoint;
  const layers = new Map<number, PicturedLayer>();
  for (const [slot, { layer, kind, block }] of architecture.slots.entries()) {
    const position = solution.choice[slot]!;
    const config = prepared.alternatives[slot]![position]!;
    const isTeacher = position === prepared.teacherChoice[slot];
    const pictured = {
      label: blockOf(config).label(config, block),
      kind: isTeacher ? 'teacher' : config.kind,
      share: blockParameters(config, architecture.stream) / blockParameters(block, architecture.stream),
      ...(!isTeacher && { score: scenario.problem.groups[slot]!.alternatives[position]!.score }),
    };
    layers.set(layer, { ...(layers.get(layer) ?? { index: layer }), [kind]: pictured });
  }
  return [...layers.values()];
}

const markdownTable = (head: readonly string[], rows: readonly (readonly string[])[]): string =>
  [head, head.map(() => '---'), ...rows].map((cells) => `| ${cells.join(' | ')} |`).join('\n');

const intervalText = ({ value, low, high }: Interval): string =>
  `${formatNumber(value)} (${formatNumber(low)} to ${formatNumber(high)})`;

const percentText = ({ value, low, high }: Interval): string =>
  `${(100 * value).toFixed(1)} % (${(100 * low).toFixed(1)} to ${(100 * high).toFixed(1)})`;

/** One line a student, for a terminal. */
export const studentLine = ({ name, evaluations }: EvaluatedCandidate): readonly string[] => {
  const { kl, perplexity, top1Agreement } = evaluations[0]!;
  return [name, intervalText(kl!), intervalText(perplexity), percentText(top1Agreement!)];
};
