/** Progress on stderr: one live line on a terminal, a line every ten seconds elsewhere; rate and ETA on both. */
import type { ProgressEvent, ReportProgress } from '../util/progress.ts';

/** How often a log that is no terminal gets a line. */
const logIntervalMs = 10_000;
/** How often a terminal's live line is redrawn. */
const redrawIntervalMs = 100;

interface Running {
  readonly stage: string;
  readonly total: number;
  readonly unit: string;
  /** Units that were already there when the stage started (a resumed run): no part of the rate. */
  readonly resumed: number;
  readonly startedMs: number;
  done: number;
  note?: string;
}

interface TerminalProgress {
  readonly report: ReportProgress;
  /** Removes the live line, before something else is printed. */
  clear(): void;
}

export function terminalProgress(stream: NodeJS.WriteStream, options: { quiet: boolean }): TerminalProgress {
  let running: Running | undefined;
  let drawnMs = Number.NEGATIVE_INFINITY;
  let live = false;

  const clear = (): void => {
    if (live) stream.write('\r\u001b[K');
    live = false;
  };
  const draw = (force: boolean): void => {
    const now = performance.now();
    if (
      running === undefined ||
      (!force && now - drawnMs < (stream.isTTY ? redrawIntervalMs : logIntervalMs))
    )
      return;
    drawnMs = now;
    const line = describeRunning(running, now);
    if (stream.isTTY) {
      stream.write(`\r\u001b[K${line.slice(0, (stream.columns ?? 100) - 1)}`);
      live = true;
    } else stream.write(`${line}\n`);
  };
  const on: { [K in ProgressEvent['kind']]: (event: Extract<ProgressEvent, { kind: K }>) => void } = {
    'stage-started'({ stage, total, unit, done = 0 }) {
      running = { stage, total, unit, resumed: done, startedMs: performance.now(), done };
      drawnMs = performance.now();
    },
    advanced({ stage, done, note }) {
      if (running?.stage !== stage) return;
      running.done = done;
      if (note === undefined) delete running.note;
      else running.note = note;
      draw(false);
    },
    'stage-finished'({ stage, note }) {
      const seconds = running?.stage === stage ? (performance.now() - running.startedMs) / 1000 : 0;
      running = undefined;
      clear();
      stream.write(`${stage}: done in ${duration(seconds)}${note === undefined ? '' : ` (${note})`}\n`);
    },
    note({ message }) {
      clear();
      stream.write(`${message}\n`);
    },
  };
  return {
    clear,
    report(event) {
      // One handler a kind; the cast only says that `event` is of the kind it is looked up by.
      if (!options.quiet) (on[event.kind] as (event: ProgressEvent) => void)(event);
    },
  };
}

function describeRunning(running: Running, nowMs: number): string {
  const { stage, done, total, unit, resumed, note } = running;
  const seconds = (nowMs - running.startedMs) / 1000;
  const rate = seconds > 0 ? (done - resumed) / seconds : 0;
  const eta = rate > 0 ? `, ${duration((total - done) / rate)} left` : '';
  const percent = total > 0 ? ` ${Math.floor((100 * done) / total)}%` : '';
  const speed = rate >= 1 ? `${rate.toPrecision(3)} ${unit}/s` : rate > 0 ? `${duration(1 / rate)} each` : '';
  return `${stage}:${percent} ${done}/${total} ${unit}${speed && `, ${speed}`}${eta}${note === undefined ? '' : `  ${note}`}`;
}

function duration(seconds: number): string {
  if (seconds < 1) return `${Math.round(seconds * 1000)} ms`;
  if (seconds < 90) return `${seconds.toFixed(1)} s`;
  const minutes = seconds / 60;
  return minutes < 90 ? `${minutes.toFixed(1)} min` : `${(minutes / 60).toFixed(1)} h`;
}
