/**
 * Tracks what is missing from a gateway's event stream: the time since it was last followed, until it has been asked about that
 * time.
 */

import type { GatewayPosition, Progress } from '../position.js';
import type { OpenRun } from './facts.js';

/** A period of which events are missing, and why. */
export interface Gap {
  reason: string;
  since_ms: number;
  /** The runs that were open when the gap began, by session. Other runs may be open in these sessions when the gateway is asked. */
  open_runs: Readonly<Record<string, OpenRun>>;
}

export interface Gaps {
  /** The gap to ask about, if any. */
  missing(): Gap | undefined;
  /** Opens a gap, because frames were dropped. */
  drop(now_ms: number): void;
  /** Opens a gap, because the connection ended; an older gap gets the runs that are open now. */
  lose(reason: string): void;
  /** Closes a gap that has been asked about, unless more has become missing since. */
  fill(gap: Gap): void;
  /** Forgets the gap: what is missing is another OpenClaw's. */
  forget(): void;
}

/** `open_runs` changes as more events are seen. */
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
      // Frames dropped while an older gap is asked about may be in none of its answers: the copy makes that gap be asked about
      // again.
      gap = gap === undefined ? gapSince('frames_dropped', progress.last()?.seen_ms ?? now_ms) : { ...gap };
    },
    lose(reason) {
      const last = progress.last();
      if (last === undefined) return;
      // Runs that began while an older gap was being asked about are in that gap by now.
      gap =
        gap === undefined
          ? gapSince(reason, last.seen_ms)
          : { ...gap, open_runs: { ...gap.open_runs, ...open_runs } };
    },
    fill(filled) {
      if (gap === filled) gap = undefined;
    },
    forget() {
      gap = undefined;
    },
  };
}
