/** A poll loop for things to write: several times a second, and less often when there can be none. */

/** Puts answers on the disk within a second. */
const POLL_INTERVAL_MS = 250;

export interface PollLoop {
  /** Starts polling. */
  start(): void;
  /** Polls soon: there may be something to write earlier than `restMs` said. */
  wake(): void;
  /** Polls now, or joins the poll that is under way. */
  poll(): Promise<void>;
  /** Stops polling. Returns the poll that is under way, if any. */
  stop(): Promise<void> | undefined;
}

/** `restMs`: how long there will be nothing to write; 0 if unknown. */
export function createPollLoop(task: () => Promise<void>, restMs: () => number): PollLoop {
  let polling: Promise<void> | undefined;
  let timer: NodeJS.Timeout | undefined;
  let is_stopped = false;
  /** The next poll is later than POLL_INTERVAL_MS from now. */
  let is_at_rest = false;

  /** One at a time. */
  function poll(): Promise<void> {
    polling ??= task().finally(() => {
      polling = undefined;
    });
    return polling;
  }

  function pollIn(wait_ms: number): void {
    is_at_rest = wait_ms > POLL_INTERVAL_MS;
    clearTimeout(timer);
    timer = setTimeout(() => void poll().then(pollAgain), wait_ms);
  }

  function pollAgain(): void {
    if (!is_stopped) pollIn(Math.max(POLL_INTERVAL_MS, restMs()));
  }

  return {
    start: pollAgain,
    wake() {
      if (is_at_rest && !is_stopped) pollIn(POLL_INTERVAL_MS);
    },
    poll,
    stop() {
      is_stopped = true;
      clearTimeout(timer);
      return polling;
    },
  };
}
