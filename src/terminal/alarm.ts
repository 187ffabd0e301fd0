/**
 * A single timer that is rescheduled instead of multiplied: callers set a time, and are called at about that time. The clock
 * and timers are passed in, so that a test can drive them.
 */

/** The two global functions that are needed here. */
export interface Timers {
  setTimeout(callback: () => void, delay_ms: number): unknown;
  clearTimeout(handle: never): void;
}

export interface Clock {
  /** Epoch milliseconds. */
  now: () => number;
  timers: Timers;
}

export interface Alarm {
  /** Rings at `instant_ms`, or as soon as possible after it; of several times only the earliest counts. */
  set(instant_ms: number): void;
  stop(): void;
}

export function createAlarm({ now, timers }: Clock, ring: () => void): Alarm {
  let pending: { instant_ms: number; handle: unknown } | undefined;

  function stop(): void {
    if (pending !== undefined) timers.clearTimeout(pending.handle as never);
    pending = undefined;
  }

  return {
    set(instant_ms) {
      if (pending !== undefined && pending.instant_ms <= instant_ms) return;
      stop();
      const handle = timers.setTimeout(
        () => {
          pending = undefined;
          ring();
        },
        Math.max(0, instant_ms - now()),
      );
      pending = { instant_ms, handle };
    },
    stop,
  };
}
