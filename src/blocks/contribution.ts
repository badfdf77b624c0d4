/** What each channel of a teacher's features contributes, and the strongest part of them: the paper's way to narrow. */
import type { Narrowing, TeacherBlock } from './block.ts';
import { columnNorms } from './matrix.ts';
import type { Tensor } from '../tensor/tensor.ts';

/** C_i = mean |h_i| * ||W[:, i]|| of each channel that enters the output matrix W (arXiv 2411.19146, sec. 3). */
export function contributions(
  { meanAbsFeature }: Pick<TeacherBlock, 'meanAbsFeature'>,
  output: Tensor<'float32'>,
): Float64Array {
  if (meanAbsFeature === undefined)
    throw new RangeError('ranking channels needs the mean |activation| of each');
  return columnNorms(output).map((norm, channel) => norm * meanAbsFeature[channel]!);
}

/** Channels of the members of largest contribution in each group, and of those the strongest groups; ascending. */
export function strongestChannels({ from, to }: Narrowing, contribution: Float64Array): number[] {
  const sum = (channels: readonly number[]): number => channels.reduce((s, c) => s + contribution[c]!, 0);
  const groups = range(from.groups).map((group) =>
    strongest(
      range(from.members).map((member) =>
        range(from.channels).map((channel) => (group * from.members + member) * from.channels + channel),
      ),
      to.members,
      sum,
    ).flat(),
  );
  return strongest(groups, to.groups, sum).flat();
}

/** The `count` items of largest value, the first of equals, in their order. */
function strongest<T>(items: readonly T[], count: number, value: (item: T) => number): T[] {
  const values = items.map(value);
  return range(items.length)
    .sort((a, b) => values[b]! - values[a]! || a - b)
    .slice(0, count)
    .sort((a, b) => a - b)
    .map((index) => items[index]!);
}

const range = (length: number): number[] => Array.from({ length }, (_, i) => i);
