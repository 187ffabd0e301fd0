/**
 * When the next checkpoint is due: soon after something has happened, less often where the state is so large that it takes long
 * to write down, and less and less often while nothing happens.
 */

/** Work on checkpoints takes no more than this part of the time: a large state is written down less often. */
const WORK_SHARE = 0.02;

/**
 * Nothing may have happened for so long before the metrics are collected all the same; while nothing goes on happening they are
 * collected less and less often. Whoever asks for what happened in a minute still finds two of them there.
 */
const IDLE_INTERVAL_MS = 10_000;
const MAX_IDLE_INTERVAL_MS = 30_000;

export interface Pace {
  /** Something has happened that a checkpoint would hold. */
  note(): void;
  /** The next one is due now. */
  hasten(): void;
  /** A checkpoint has everything that has happened. */
  captured(): void;
  /** A checkpoint, or what stands for one, is over; so long it took to turn the state into records. */
  ended(work_ms?: number): void;
  /** By the clock. */
  dueMs(): number;
}

export interface PaceOptions {
  interval_ms: number;
  /** Milliseconds on a clock that never jumps. */
  clock(): number;
}

export function createPace(options: PaceOptions): Pace {
  let { interval_ms } = options;
  let is_dirty = false;
  let idle_interval_ms = IDLE_INTERVAL_MS;
  let last_ms = options.clock();
  return {
    note() {
      is_dirty = true;
    },
    hasten() {
      last_ms = Number.NEGATIVE_INFINITY;
    },
    captured() {
      idle_interval_ms = is_dirty ? IDLE_INTERVAL_MS : Math.min(2 * idle_interval_ms, MAX_IDLE_INTERVAL_MS);
      is_dirty = false;
    },
    ended(work_ms) {
      if (work_ms !== undefined) interval_ms = Math.max(options.interval_ms, work_ms / WORK_SHARE);
      last_ms = options.clock();
    },
    dueMs: () => last_ms + (is_dirty ? interval_ms : idle_interval_ms),
  };
}
