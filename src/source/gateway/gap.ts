/**
 * What is missing of what a gateway pushed: the time since it was last followed, until it has been asked for that.
 */
import type { OpenRun } from './facts.js';
import type { GatewayPosition, Progress } from './position.js';

/** What is missing, and why. */
export interface Gap {
  reason: string;
  since_ms: number;
  /** The runs that went on when it began: others may go on in their sessions when it is asked about. */
  open_runs: Readonly<Record<string, OpenRun>>;
}

export interface Gaps {
  /** The one that is to be asked about, if any. */
  missing(): Gap | undefined;
  /** Frames were dropped. */
  drop(now_ms: number): void;
  /** The connection ended. */
  lose(reason: string): void;
  /** It has been asked about: nothing of it is missing any more, unless more has become missing since. */
  fill(gap: Gap): void;
}

/** `open_runs` change as more is seen. */
export function createGaps(
  resume: GatewayPosition | undefined,
  progress: Progress,
  open_runs: Readonly<Record<string, OpenRun>>,
): Gaps {
  let gap: Gap | undefined = resume && {
    reason: 'bridge_restarted',
    since_ms: resume.seen_ms,
    open_runs: resume.open_runs,
  };

  const gapSince = (reason: string, since_ms: number): Gap => ({
    reason,
    since_ms,
    open_runs: { ...open_runs },
  });

  return {
    missing: () => gap,
    drop(now_ms) {
      // What is dropped while an older gap is asked about may be in none of its answers: that is asked once more.
      gap = gap === undefined ? gapSince('frames_dropped', progress.last()?.seen_ms ?? now_ms) : { ...gap };
    },
    lose(reason) {
      const last = progress.last();
      if (last === undefined) return;
      // Runs that began while an older gap was asked about are in that gap by now.
      gap =
        gap === undefined
          ? gapSince(reason, last.seen_ms)
          : { ...gap, open_runs: { ...gap.open_runs, ...open_runs } };
    },
    fill(filled) {
      if (gap === filled) gap = undefined;
    },
  };
}
