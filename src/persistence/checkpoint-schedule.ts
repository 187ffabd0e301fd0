/**
 * When the next checkpoint is due: soon after activity, less often if the state takes long to write, and less and less often
 * while nothing happens.
 */

/** The largest share of time spent on checkpoints: a large state is written less often. */
const WORK_SHARE = 0.02;

/**
 * The interval at which metrics are collected while nothing happens; it doubles up to the maximum. A query over the last minute
 * still finds two collections.
 */
const IDLE_INTERVAL_MS = 10_000;
const MAX_IDLE_INTERVAL_MS = 30_000;

export interface CheckpointSchedule {
  /** Notes activity that a checkpoint would record. */
  note(): void;
  /** Makes the next checkpoint due now. */
  hasten(): void;
  /** A checkpoint has captured all activity so far. */
  captured(): void;
  /**
   * A checkpoint, or the collection that replaces one while the store is failing, is over. `work_ms`: time spent turning the
   * state into records.
   */
  ended(work_ms?: number): void;
  /** No checkpoint becomes due any more. */
  stop(): void;
  /** When the next checkpoint is due, on the monotonic clock. */
  dueMs(): number;
}

export interface CheckpointScheduleOptions {
  interval_ms: number;
  /** Milliseconds on a monotonic clock. */
  clock(): number;
}

export function createCheckpointSchedule(options: CheckpointScheduleOptions): CheckpointSchedule {
  let { interval_ms } = options;
  let is_dirty = false;
  let idle_interval_ms = IDLE_INTERVAL_MS;
  let last_ms = options.clock();
  let is_stopped = false;
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
    stop() {
      is_stopped = true;
    },
    dueMs: () => (is_stopped ? Infinity : last_ms + (is_dirty ? interval_ms : idle_interval_ms)),
  };
}
