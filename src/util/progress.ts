/** Typed progress events: stages report, whoever listens (terminal, log, web page) renders. */

export type ProgressEvent =
  | {
      readonly kind: 'stage-started';
      readonly stage: string;
      readonly total: number;
      readonly unit: string;
      readonly done?: number;
    }
  | { readonly kind: 'advanced'; readonly stage: string; readonly done: number; readonly note?: string }
  | { readonly kind: 'stage-finished'; readonly stage: string; readonly note?: string }
  | { readonly kind: 'note'; readonly message: string };

/** Receives progress. Stages take one as an option and never print. */
export type ReportProgress = (event: ProgressEvent) => void;

/** The default listener: nobody is watching. */
export const silent: ReportProgress = () => {};
