/** `puzzle explain`: why this architecture, what each budget and each layer's choice costs, and how sure it is. */
import {
  architectureDocument,
  budgetDocument,
  describeConstraints,
  estimateUncertainty,
  explain,
  resolveBudgets,
  solve,
  underLimits,
  type Explanation,
  type Scenario,
  type Uncertainty,
} from '../../search/index.ts';
import { textTable } from '../../util/text-table.ts';
import { formatAmount, formatNumber } from '../../util/units.ts';
import { defineCommand } from '../command.ts';
import { wholeNumber } from '../options.ts';
import { renderSearchResult } from '../render-result.ts';
import { allBudgets, loadSource, scenarioOptions, solveOptionsOf } from '../scenario-source.ts';
import { requireChoice } from './search-library.ts';

export const explainCommand = defineCommand({
  command: 'explain [result]',
  describe:
    'Say why an architecture was chosen: shadow prices, runners-up, what demands cost, how sure it is',
  options: (yargs) =>
    yargs
      .positional('result', { type: 'string', describe: 'Results folder, problem.json or search result' })
      .options(scenarioOptions)
      .option('resamples', {
        type: 'number',
        default: 200,
        describe: 'Bootstrap resamples, where scores have samples',
      })
      .option('seed', { type: 'number', default: 0, describe: 'Of the resamples' }),
  run: async (args, { print, report }) => {
    const source = await loadSource(args);
    const { scenario } = source;
    const limits = resolveBudgets(scenario, allBudgets(source));
    const options = solveOptionsOf(args);
    const problem = underLimits(scenario, limits);
    const solution = await solve(problem, options);
    await requireChoice(scenario, limits, solution, options);
    const progress = (stage: string, unit: string) => {
      let started = false;
      return (done: number, total: number): void => {
        if (!started) report({ kind: 'stage-started', stage, total, unit });
        started = true;
        report({ kind: 'advanced', stage, done });
        if (done === total) report({ kind: 'stage-finished', stage });
      };
    };
    const explanation = await explain(scenario, limits, solution, options, progress('Runners-up', 'groups'));
    const uncertainty =
      scenario.samples &&
      (await estimateUncertainty(
        problem,
        scenario.samples,
        solution,
        {
          ...options,
          resamples: wholeNumber(args.resamples, 'resamples', 1, 100_000),
          seed: wholeNumber(args.seed, 'seed', 0),
        },
        progress('Bootstrap', 'resamples'),
      ));
    print(explanationDocument(scenario, explanation, uncertainty), () =>
      renderExplanation(scenario, explanation, uncertainty),
    );
  },
});

function explanationDocument(
  scenario: Scenario,
  { solution, budgets, exchanges, reasons, prices }: Explanation,
  uncertainty: Uncertainty | undefined,
): Record<string, unknown> {
  const { problem } = scenario;
  return {
    schema: 'puzzle/explanation@1',
    status: solution.status,
    ...architectureDocument(scenario, solution),
    budgets: budgets.map((report) => {
      const exchange = exchanges.find(({ limit }) => limit.measure === report.limit.measure);
      return {
        ...budgetDocument(report),
        exchange: exchange
          ? {
              step: exchange.step,
              gain: exchange.gain,
              gainAtMost: exchange.gainAtMost ?? null,
              loss: exchange.loss ?? null,
            }
          : null,
      };
    }),
    choices: reasons.map(({ group, chosen, runnerUp }) => {
      const { name, layer, alternatives } = problem.groups[group]!;
      const stability = uncertainty?.choices[group];
      return {
        group: name,
        layer,
        chosen: alternatives[chosen]!.name,
        runnerUp: runnerUp ? alternatives[runnerUp.alternative]!.name : null,
        regret: runnerUp?.regret ?? null,
        alsoChanges: runnerUp?.alsoChanges.map((g) => problem.groups[g]!.name) ?? [],
        ...(stability && {
          frequency: stability.frequencies[chosen]!,
          coinToss: stability.coinToss,
          samplesToSettle: stability.samplesToSettle ?? null,
        }),
      };
    }),
    prices: prices.map(({ constraints, price }) => ({
      constraint: describeConstraints(problem, constraints),
      price,
    })),
    uncertainty: uncertainty
      ? {
          samples: uncertainty.samples,
          score: uncertainty.score,
          samplesToSettle: uncertainty.samplesToSettle,
        }
      : null,
    solver: { name: solution.solver, milliseconds: solution.milliseconds, nodes: solution.nodes },
  };
}

function renderExplanation(
  scenario: Scenario,
  { solution, budgets, exchanges, reasons, prices }: Explanation,
  uncertainty: Uncertainty | undefined,
): string {
  const { problem } = scenario;
  const { metric } = problem.objective;
  const trades = exchanges.map(({ limit: { measure }, step, gain, loss }) => {
    const amount = formatAmount(step, measure.quantity);
    const [more, less] = measure.tokens === undefined ? ['more', 'less'] : ['less', 'more'];
    const lost = loss === undefined ? 'nothing fits' : `costs ${formatNumber(loss)}`;
    return `${amount} ${more} ${measure.name} buys ${formatNumber(gain)} ${metric}; ${amount} ${less} ${lost}.`;
  });
  const costly = prices.filter(({ price }) => price > 0);
  const parts = [
    renderSearchResult(scenario, [solution], budgets),
    trades.join('\n'),
    costly.length === 0
      ? ''
      : textTable([
          ['demand', `price in ${metric}`],
          ...costly.map(({ constraints, price }) => [
            describeConstraints(problem, constraints),
            formatNumber(price),
          ]),
        ]),
    renderReasons(scenario, reasons, uncertainty),
    uncertainty === undefined ? '' : renderUncertainty(uncertainty, metric),
  ];
  return parts.filter((part) => part !== '').join('\n\n');
}

function renderReasons(
  scenario: Scenario,
  reasons: Explanation['reasons'],
  uncertainty: Uncertainty | undefined,
): string {
  const rows = reasons.map(({ group, chosen, runnerUp }) => {
    const stability = uncertainty?.choices[group];
    return [
      scenario.problem.groups[group]!.name,
      shortName(scenario, group, chosen),
      runnerUp ? shortName(scenario, group, runnerUp.alternative) : '(no other fits)',
      runnerUp ? formatNumber(runnerUp.regret) : '-',
      runnerUp ? String(runnerUp.alsoChanges.length) : '-',
      ...(stability
        ? [`${Math.round(stability.frequencies[chosen]! * 100)} %${stability.coinToss ? ' coin toss' : ''}`]
        : []),
    ];
  });
  return textTable([
    ['', 'chosen', 'runner-up', 'regret', 'also changes', ...(uncertainty ? ['resamples that agree'] : [])],
    ...rows,
  ]);
}

/** The blocks' labels where they are known, which are shorter than a library's names. */
function shortName({ problem, blocks }: Scenario, group: number, alternative: number): string {
  const { attention, ffn } = blocks[group]![alternative]!;
  const labels = [attention, ffn].filter((label) => label !== undefined);
  return labels.length > 0 ? labels.join(' + ') : problem.groups[group]!.alternatives[alternative]!.name;
}

function renderUncertainty(
  { samples, score, choices, samplesToSettle }: Uncertainty,
  metric: string,
): string {
  const tosses = choices.filter(({ coinToss }) => coinToss);
  const interval = `${metric} ${formatNumber(score.value)}, 95 % interval ${formatNumber(score.low)} to ${formatNumber(score.high)}, from ${samples} samples.`;
  if (tosses.length === 0) return `${interval}\nNo choice is a coin toss.`;
  return `${interval}\n${tosses.length} of ${choices.length} choices are coin tosses; about ${formatNumber(samplesToSettle)} samples would settle them.`;
}
