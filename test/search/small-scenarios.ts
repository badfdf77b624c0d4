/** Scenarios small enough to try every choice, with ties and zeros, pairs or slots apart; and the trying. */
import * as fc from 'fast-check';
import { tagsOf, type Blocks, type Choice, type Problem, type Scenario } from '../../src/search/index.ts';
import { verifier } from '../../src/search/verify.ts';

const attentions = ['kv4', 'kv1', 'linear', 'no-op'] as const;
const ffns = ['100', '50', 'no-op'] as const;
const costOf: Readonly<Record<string, number>> = {
  kv4: 8,
  kv1: 5,
  linear: 3,
  'no-op': 0,
  '100': 12,
  '50': 6,
};

/** A step of 1/8 makes ties likely and sums exact. */
const eighths = (most: number): fc.Arbitrary<number> =>
  fc.integer({ min: 0, max: most * 8 }).map((n) => n / 8);

/** Scores of attention and FFN by layer and label; everything else follows. */
interface Seeds {
  readonly apart: boolean;
  readonly damages: readonly { readonly attention: readonly number[]; readonly ffn: readonly number[] }[];
  readonly noise: number;
}

const seeds: fc.Arbitrary<Seeds> = fc.record({
  apart: fc.boolean(),
  damages: fc.array(
    fc.record({
      attention: fc.array(eighths(4), { minLength: 3, maxLength: 3 }),
      ffn: fc.array(eighths(4), { minLength: 2, maxLength: 2 }),
    }),
    { minLength: 1, maxLength: 3 },
  ),
  noise: fc.integer({ min: 0, max: 4 }),
});

const gibi = 2 ** 30;

/** At most 12^3 choices: three layers of four attentions and three FFNs. Memory in bytes, latency in ms. */
export const smallScenario: fc.Arbitrary<Scenario> = seeds.map(({ apart, damages, noise }) => {
  const uses = (blocks: readonly string[], layer: number): number[] => {
    const cost = blocks.reduce((sum, label) => sum + costOf[label]!, 0);
    return [cost * gibi, cost * 3 + ((cost * (layer + noise)) % 5), cost * 1e6];
  };
  const groups: { name: string; layer: number; blocks: Blocks[]; score: number[] }[] = damages.flatMap(
    ({ attention, ffn }, layer) => {
      const attentionScore = [0, ...attention];
      const ffnScore = [0, ...ffn];
      if (apart) {
        return [
          {
            name: `layer ${layer} attention`,
            layer,
            blocks: attentions.map((label) => ({ attention: label })),
            score: attentionScore,
          },
          {
            name: `layer ${layer} ffn`,
            layer,
            blocks: ffns.map((label) => ({ ffn: label })),
            score: ffnScore,
          },
        ];
      }
      const pairs = attentions.flatMap((a, i) =>
        ffns.map((f, j) => ({ a, f, score: attentionScore[i]! + ffnScore[j]! })),
      );
      return [
        {
          name: `layer ${layer}`,
          layer,
          blocks: pairs.map(({ a, f }) => ({ attention: a, ffn: f })),
          score: pairs.map(({ score }) => score),
        },
      ];
    },
  );
  return {
    problem: {
      groups: groups.map(({ name, layer, blocks, score }) => ({
        name,
        layer,
        alternatives: blocks.map((block, a) => ({
          name: Object.values(block).join('+'),
          score: score[a]!,
          uses: uses(Object.values(block) as string[], layer),
          tags: tagsOf(block),
        })),
      })),
      resources: [
        { name: 'memory', fixed: 2 * gibi },
        { name: 'latency', fixed: 1 },
        { name: 'parameters', fixed: 0 },
      ],
      objective: { sense: 'minimise', metric: 'kl_div' },
      constraints: [],
    },
    measures: [
      { name: 'memory', quantity: 'bytes', resource: 0 },
      { name: 'latency', quantity: 'duration', resource: 1 },
      { name: 'throughput', quantity: 'rate', resource: 1, tokens: 1024 },
      { name: 'parameters', quantity: 'count', resource: 2 },
    ],
    blocks: groups.map(({ blocks }) => blocks),
    teacher: groups.map(() => 0),
    teacherChosenBy: 'made by the test',
  };
});

/** Every choice of a small problem. */
export function everyChoice({ groups }: Problem): number[][] {
  return groups.reduce<number[][]>(
    (partial, { alternatives }) =>
      partial.flatMap((head) => [...alternatives.keys()].map((a) => [...head, a])),
    [[]],
  );
}

export interface Tried {
  readonly choice: Choice;
  readonly value: number;
  readonly totals: readonly number[];
}

/** Every choice that satisfies the problem, best first. */
export function everyFit(problem: Problem): Tried[] {
  const sign = problem.objective.sense === 'minimise' ? 1 : -1;
  const check = verifier(problem);
  return everyChoice(problem)
    .map((choice) => ({ choice, ...check(choice) }))
    .filter(({ violations }) => violations.length === 0)
    .sort((a, b) => sign * (a.value - b.value));
}

/** The best value there is; undefined when nothing fits. */
export const bestValue = (problem: Problem): number | undefined => everyFit(problem)[0]?.value;
