/** What the stages of a run start from: teacher, space, alternatives, texts. */
import { alternativesOf, loadSpace, sameBlock, type SearchSpace } from '../blocks/index.ts';
import { closedFormOptions, defaultLibraryOptions, type LibraryOptions } from '../library/index.ts';
import type { BlockConfig } from '../model/index.ts';
import type { ReportProgress } from '../util/progress.ts';
import { ownTextStage } from './own-text-stage.ts';
import type { Store } from './store.ts';
import type { Teacher } from './teacher.ts';
import { loadTexts, ownTokens, type RunTexts, type TextOptions } from './texts.ts';

export interface PreparedOptions {
  readonly space: string;
  readonly texts: TextOptions;
  readonly library: LibraryOptions;
  readonly device: string;
}

/** What costs are known from: nothing has been computed yet. */
export interface Outline {
  readonly teacher: Teacher;
  readonly space: SearchSpace;
  /** Per slot; the teacher's own block is among them. */
  readonly alternatives: readonly (readonly BlockConfig[])[];
  /** Position of the teacher's own block, per slot. */
  readonly teacherChoice: readonly number[];
  readonly options: PreparedOptions;
}

/** What the stages that train and score need. */
export interface Prepared extends Outline {
  readonly texts: RunTexts;
}

/** Reads the space. Throws what it throws. */
export async function outline(
  teacher: Teacher,
  { library, ...options }: Omit<PreparedOptions, 'library'> & { readonly library?: Partial<LibraryOptions> },
): Promise<Outline> {
  const { architecture } = teacher.checkpoint;
  const space = await loadSpace(options.space);
  const alternatives = alternativesOf(space, architecture).map((configs, slot) => {
    const own = architecture.slots[slot]!.block;
    // Budgets and damages refer to the teacher's block, so it is there even where a space leaves it out.
    return configs.some((config) => sameBlock(config, own)) ? configs : [own, ...configs];
  });
  return {
    teacher,
    space,
    alternatives,
    teacherChoice: alternatives.map((configs, slot) =>
      configs.findIndex((config) => sameBlock(config, architecture.slots[slot]!.block)),
    ),
    // A fine space keeps its closed forms unless told otherwise.
    options: {
      ...options,
      library: { ...(space.distil ? defaultLibraryOptions : closedFormOptions), ...library },
    },
  };
}

/** Reads the texts, and samples the teacher's own where asked for. Throws what they throw. */
export async function prepare(from: Outline, store: Store, report: ReportProgress): Promise<Prepared> {
  const { teacher, options } = from;
  const { window } = options.texts;
  const texts = await loadTexts(options.texts, await teacher.checkpoint.tokenizer(), () =>
    ownTextStage({ teacher, window }, ownTokens(options.texts), store, report),
  );
  return { ...from, texts };
}
