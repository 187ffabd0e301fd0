/**
 * Waiting for something to hold, without sleeping: whoever changes it tells so, and what is waited for is looked at again.
 * A test that waits in vain fails by its timeout.
 */
export interface Changes {
  tell(): void;
  /** Resolves once this holds; at once where it does already. */
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
