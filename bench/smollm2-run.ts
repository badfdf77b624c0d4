/** What the benchmarks on SmolLM2-135M share: the teacher, the texts, the figures of a student. */
import { join } from 'node:path';
import { workload } from '../src/hardware/index.ts';
import type { LibraryOptions } from '../src/library/index.ts';
import {
  openHardware,
  openTeacher,
  outline,
  prepare,
  type Prepared,
  type Store,
  type Teacher,
} from '../src/pipeline/index.ts';
import { windowsOf } from '../src/pipeline/texts.ts';
import type { Evaluation } from '../src/evaluate/index.ts';
import type { Interval } from '../src/util/interval.ts';
import type { ReportProgress } from '../src/util/progress.ts';

const shared = new URL('../../shared/', import.meta.url).pathname;
const data = (name: string): string => join(shared, 'data', name);

/** KL of the PyTorch sketches in the facts: coarse space, and fine space with one factor on attention. */
export const sketches: Readonly<Record<number, readonly [coarse: string, fine: string]>> = {
  0.9: ['.276', '.291'],
  0.8: ['.674', '.664'],
  0.75: ['.899', '.875'],
  0.6: ['1.689', '1.482'],
};

export const openSmolLM2 = (): Promise<Teacher> =>
  openTeacher(join(shared, 'models/SmolLM2-135M-Instruct.Q4_1.gguf'), { device: 'cpu' });

/** Windows of 256 tokens that figures are compared on, from the start of each evaluation text, and further ones. */
const [comparedWindows, furtherWindows] = [6, 30];

/**
 * Evaluation texts in order: the start of the sociology book and of WikiText-2, that is the twelve windows of the
 * sketches, then sixty further windows, thirty of each.
 */
export async function prepareSmolLM2(
  teacher: Teacher,
  space: string,
  library: LibraryOptions,
  store: Store,
  report: ReportProgress,
  { calibrationTokens = 65_536, scoreTokens = 6144 } = {},
): Promise<Prepared> {
  const texts = {
    // A second domain: what is fitted and chosen on textbooks alone keeps what textbooks need.
    texts: [
      { path: data('textbooks-train.txt'), weight: 1 },
      { path: 'own', weight: 1 },
    ],
    scoreTexts: [data('textbooks-validation.txt'), 'own'],
    evaluationTexts: [data('textbook-sociology-evaluation.txt'), data('wikitext-2-valid.txt')],
    window: 256,
    calibrationTokens,
    validationTokens: 8192,
    scoreTokens,
    selectionTokens: 6144,
    evaluationTokens: 256 * (comparedWindows + furtherWindows),
  };
  const prepared = await prepare(
    await outline(teacher, { space, device: 'cpu', library, texts }),
    store,
    report,
  );
  const { evaluation } = prepared.texts;
  return {
    ...prepared,
    texts: {
      ...prepared.texts,
      evaluation: [
        ...evaluation.map((text) => windowsOf(text, 0, comparedWindows)),
        ...evaluation.map((text) => windowsOf(text, comparedWindows, comparedWindows + furtherWindows)),
      ],
    },
  };
}

/** A search for a share of the teacher's parameters. */
export const requestFor = async (factor: number) =>
  ({
    workload: workload(),
    hardware: await openHardware('h100'),
    budgets: [{ measure: 'parameters', limit: { kind: 'relative', factor } }],
    metric: 'kl',
    scores: 'hybrid',
    context: { rounds: 2 },
    refit: true,
    seed: 0,
    compare: false,
    solve: {},
  }) as const;

/** The twelve windows that sketches were measured on, or the sixty further ones: mean of the two texts. */
export const klOf = (evaluations: readonly Evaluation[], part: 'compared' | 'further'): Interval =>
  over(part === 'compared' ? evaluations.slice(0, 2) : evaluations.slice(2), ({ kl }) => kl!);

/** Mean over texts; their errors are independent. */
function over(evaluations: readonly Evaluation[], part: (evaluation: Evaluation) => Interval): Interval {
  const intervals = evaluations.map(part);
  const value = intervals.reduce((sum, own) => sum + own.value, 0) / intervals.length;
  const half =
    Math.sqrt(intervals.reduce((sum, own) => sum + (own.high - own.value) ** 2, 0)) / intervals.length;
  return { value, low: value - half, high: value + half };
}

export const shown = ({ value, low, high }: Interval): string =>
  `${value.toFixed(3)} (${low.toFixed(3)} to ${high.toFixed(3)})`;

export const markdownTable = (head: readonly string[], rows: readonly (readonly string[])[]): string =>
  [head, head.map(() => '---'), ...rows].map((cells) => `| ${cells.join(' | ')} |`).join('\n');
