/**
 * A binary heap of deadlines, as plain data. A timer is not taken out when what it guards is gone: who pops it looks
 * whether it still holds. Their numbers order those that are due at once, so that all heaps of the same timers are alike.
 */

export interface Due {
  due_ms: number;
  number: number;
}

const isBefore = (a: Due, b: Due): boolean =>
  a.due_ms < b.due_ms || (a.due_ms === b.due_ms && a.number < b.number);

export function pushDue<T extends Due>(heap: T[], item: T): void {
  let at = heap.length;
  heap.push(item);
  while (at > 0) {
    const parent = (at - 1) >> 1;
    const above = heap[parent] as T;
    if (isBefore(above, item)) break;
    heap[at] = above;
    at = parent;
  }
  heap[at] = item;
}

/** Takes out the item that is due first. */
export function popDue<T extends Due>(heap: T[]): T | undefined {
  const first = heap[0];
  const last = heap.pop();
  if (first === undefined || last === undefined || heap.length === 0) return first;
  let at = 0;
  for (;;) {
    const left = 2 * at + 1;
    if (left >= heap.length) break;
    const right = left + 1;
    const child = right < heap.length && isBefore(heap[right] as T, heap[left] as T) ? right : left;
    if (!isBefore(heap[child] as T, last)) break;
    heap[at] = heap[child] as T;
    at = child;
  }
  heap[at] = last;
  return first;
}

/** Rebuilds the heap from the items that are still wanted. */
export function keepDue<T extends Due>(heap: T[], isWanted: (item: T) => boolean): void {
  const wanted = heap.filter(isWanted);
  heap.length = 0;
  for (const item of wanted) pushDue(heap, item);
}
