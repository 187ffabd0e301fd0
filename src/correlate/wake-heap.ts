/**
 * A binary heap of items with a wake-up time, as plain data. Each item is in it at most once and knows its index, so that its
 * time can be changed and it can be removed. Items with the same time are ordered by number, so the order never depends on how
 * the heap was built.
 */

export interface Wakeable {
  /** Epoch milliseconds; `Infinity` while it is not in the heap. */
  wake_ms: number;
  number: number;
  /** Index in the heap; -1 while it is not in it. */
  heap_place: number;
}

const isBefore = (a: Wakeable, b: Wakeable): boolean =>
  a.wake_ms < b.wake_ms || (a.wake_ms === b.wake_ms && a.number < b.number);

function put<T extends Wakeable>(heap: T[], item: T, place: number): void {
  heap[place] = item;
  item.heap_place = place;
}

function rise<T extends Wakeable>(heap: T[], item: T, from: number): void {
  let at = from;
  while (at > 0) {
    const parent = (at - 1) >> 1;
    const above = heap[parent] as T;
    if (isBefore(above, item)) break;
    put(heap, above, at);
    at = parent;
  }
  put(heap, item, at);
}

function sink<T extends Wakeable>(heap: T[], item: T, from: number): void {
  let at = from;
  for (;;) {
    const left = 2 * at + 1;
    if (left >= heap.length) break;
    const right = left + 1;
    const child = right < heap.length && isBefore(heap[right] as T, heap[left] as T) ? right : left;
    if (!isBefore(heap[child] as T, item)) break;
    put(heap, heap[child] as T, at);
    at = child;
  }
  put(heap, item, at);
}

/** Schedules a wake-up; an earlier one that is already scheduled stays. */
export function scheduleWake<T extends Wakeable>(heap: T[], item: T, wake_ms: number): void {
  if (item.wake_ms <= wake_ms) return;
  item.wake_ms = wake_ms;
  if (wake_ms === Infinity) return;
  rise(heap, item, item.heap_place === -1 ? heap.length : item.heap_place);
}

/** Cancels the wake-up. */
export function cancelWake<T extends Wakeable>(heap: T[], item: T): void {
  const { heap_place } = item;
  item.wake_ms = Infinity;
  if (heap_place === -1) return;
  item.heap_place = -1;
  const last = heap.pop();
  if (last === undefined || last === item) return;
  const above = heap[(heap_place - 1) >> 1];
  if (heap_place > 0 && above !== undefined && isBefore(last, above)) rise(heap, last, heap_place);
  else sink(heap, last, heap_place);
}

/** The first item in the heap, if it is due. */
export function firstDue<T extends Wakeable>(heap: T[], now_ms: number): T | undefined {
  const first = heap[0];
  return first !== undefined && first.wake_ms <= now_ms ? first : undefined;
}
