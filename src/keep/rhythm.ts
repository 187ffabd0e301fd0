/** A poll loop for things to write: several times a second, and less often when there can be none. */

/** Puts answers on the disk within a second. */
const LOOK_INTERVAL_MS = 250;

export interface Rhythm {
  /** Starts polling. */
  start(): void;
  /** Polls soon: there may be something to write earlier than `restMs` said. */
  wake(): void;
  /** Polls now, or joins the poll that is under way. */
  look(): Promise<void>;
  /** Stops polling. Returns the poll that is under way, if any. */
  stop(): Promise<void> | undefined;
}

/** `restMs`: how long there will be nothing to write; 0 if unknown. */
export function createRhythm(keepUp: () => Promise<void>, restMs: () => number): Rhythm {
  let looking: Promise<void> | undefined;
  let timer: NodeJS.Timeout | undefined;
  let is_stopped = false;
  /** The next poll is later than LOOK_INTERVAL_MS from now. */
  let is_at_rest = false;

  /** One at a time. */
  function look(): Promise<void> {
    looking ??= keepUp().finally(() => {
      looking = undefined;
    });
    return looking;
  }

  function lookIn(wait_ms: number): void {
    is_at_rest = wait_ms > LOOK_INTERVAL_MS;
    clearTimeout(timer);
    timer = setTimeout(() => void look().then(goOn), wait_ms);
  }

  function goOn(): void {
    if (!is_stopped) lookIn(Math.max(LOOK_INTERVAL_MS, restMs()));
  }

  return {
    start: goOn,
    wake() {
      if (is_at_rest && !is_stopped) lookIn(LOOK_INTERVAL_MS);
    },
    look,
    stop() {
      is_stopped = true;
      clearTimeout(timer);
      return looking;
    },
  };
}
