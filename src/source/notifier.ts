/**
 * Wakes one waiting loop. A notification that comes while nobody waits is kept for the next wait, so a loop that checks its
 * state and then waits can't miss a change in between.
 */

export interface Notifier {
  notify(): void;
  /** Resolves at the next notification, at once if one came since the last wait, or after `timeout_ms`. One waiter at a time. */
  wait(timeout_ms?: number): Promise<void>;
}

export function createNotifier(): Notifier {
  let notified = false;
  let wake: (() => void) | undefined;

  function nextNotification(timeout_ms: number | undefined): Promise<void> {
    return new Promise((resolve) => {
      const timer = timeout_ms === undefined ? undefined : setTimeout(resolve, timeout_ms);
      wake = () => {
        clearTimeout(timer);
        resolve();
      };
    });
  }

  return {
    notify() {
      notified = true;
      wake?.();
    },
    async wait(timeout_ms) {
      if (!notified) await nextNotification(timeout_ms);
      notified = false;
      wake = undefined;
    },
  };
}
