import { expect, test } from 'vitest';
import { createDestinationOutbox, type StoredLane } from '../../src/export/destination-outbox.js';

/** A lane with this many bytes on the disk. `can_drop`: whether it has something to drop. */
function lane(signal: StoredLane['signal'], bytes: number, can_drop: boolean, dropped: string[]): StoredLane {
  return {
    signal,
    memory_limit_bytes: 1,
    lane: {
      isPressed: false,
      isWritable: true,
      setWritable: () => undefined,
      relieve: () => undefined,
      dropUnstored: () => undefined,
      dropOldest() {
        if (can_drop) dropped.push(signal);
        return can_drop;
      },
    },
    outbox: { bytes } as StoredLane['outbox'],
  };
}

test('the largest lane that has something to drop drops its oldest', () => {
  const dropped: string[] = [];
  const lanes = [
    lane('traces', 3, false, dropped),
    lane('metrics', 1, true, dropped),
    lane('logs', 2, true, dropped),
  ];
  expect(createDestinationOutbox(lanes).dropOldest()).toBe(true);
  expect(dropped).toEqual(['logs']);
  expect(createDestinationOutbox(lanes.slice(0, 1)).dropOldest()).toBe(false);
});
