/**
 * Merges what several readers push into one iteration. A push resolves when its item has been pulled, and a reader awaits it
 * before it reads on: at most one item of each reader waits, and a consumer that stops pulling stops every reader.
 */
import { createNotifier } from './notifier.js';

export interface Rendezvous<T> {
  /** Hands an item over, in order; resolves when it has been pulled, or at once after `release`. */
  push(item: T): Promise<void>;
  /** Pushes no longer wait for the consumer: readers that were stopped can hand over what they have, and finish. */
  release(): void;
  /** Ends the iteration once the readers are done and their items are pulled; a reader's failure is thrown to the consumer. */
  endAfter(readers: Promise<void>): Promise<void>;
  /** Can be iterated once. */
  items: AsyncIterable<T>;
}

export function createRendezvous<T>(): Rendezvous<T> {
  const waiting: { item: T; taken: () => void }[] = [];
  const changed = createNotifier();
  let released = false;
  let ended = false;
  let failure: { error: unknown } | undefined;

  async function* pull(): AsyncGenerator<T> {
    for (;;) {
      const next = waiting.shift();
      if (next !== undefined) {
        next.taken();
        yield next.item;
      } else if (ended) {
        if (failure !== undefined) throw failure.error;
        return;
      } else {
        await changed.wait();
      }
    }
  }

  return {
    push(item) {
      return new Promise((taken) => {
        waiting.push({ item, taken });
        if (released) taken();
        changed.notify();
      });
    },
    release() {
      released = true;
      for (const { taken } of waiting) taken();
    },
    async endAfter(readers) {
      await readers.catch((error: unknown) => {
        failure = { error };
      });
      ended = true;
      changed.notify();
    },
    items: pull(),
  };
}
