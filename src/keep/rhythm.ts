/** How often it is looked for what is to be written down: several times a second, and less often where there can be nothing. */

/** Answers are on the disk within a second. */
const LOOK_INTERVAL_MS = 250;

export interface Rhythm {
  /** From now on it looks. */
  start(): void;
  /** There may be something to be found sooner than was told. */
  wake(): void;
  /** Looks now, or goes along with the look that is under way. */
  look(): Promise<void>;
  /** It looks no longer, but for the look that is under way, if there is one. */
  stop(): Promise<void> | undefined;
}

/** `restMs`: for how long there will be nothing to be found; 0 where nobody knows. */
export function createRhythm(keepUp: () => Promise<void>, restMs: () => number): Rhythm {
  let looking: Promise<void> | undefined;
  let timer: NodeJS.Timeout | undefined;
  let is_stopped = false;
  /** The next look is far off. */
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
