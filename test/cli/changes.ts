/**
 * Waits for a condition without sleeping: code that changes something calls `tell`, and every waiting condition is checked
 * again. A condition that never holds ends the test by its timeout.
 */
export interface Changes {
  tell(): void;
  /** Resolves once `isSo` returns true, at once if it already does. */
  until(isSo: () => boolean): Promise<void>;
}

export function createChanges(): Changes {
  const waiting = new Set<() => void>();
  return {
    tell() {
      for (const look of waiting) look();
    },
    until(isSo) {
      return new Promise((resolve) => {
        const look = (): void => {
          if (!isSo()) return;
          waiting.delete(look);
          resolve();
        };
        waiting.add(look);
        look();
      });
    },
  };
}
