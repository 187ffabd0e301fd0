import { expect, test } from 'vitest';
import { createKeeping, type KeptLane } from '../../src/export/keeping.js';

/** A lane with this many bytes on the disk. `can_drop`: whether it has something to drop. */
function lane(signal: KeptLane['signal'], bytes: number, can_drop: boolean, dropped: string[]): KeptLane {
  return {
    signal,
    memory_limit_bytes: 1,
    lane: {
      isPressed: false,
      setWritable: () => undefined,
      relieve: () => undefined,
      dropUnstored: () => undefined,
      dropOldest() {
        if (can_drop) dropped.push(signal);
        return can_drop;
      },
    },
    outbox: { bytes } as KeptLane['outbox'],
  };
}

test('the largest lane that has something to drop drops its oldest', () => {
  const dropped: string[] = [];
  const lanes = [
    lane('traces', 3, false, dropped),
    lane('metrics', 1, true, dropped),
    lane('logs', 2, true, dropped),
  ];
  expect(createKeeping(lanes).dropOldest()).toBe(true);
  expect(dropped).toEqual(['logs']);
  expect(createKeeping(lanes.slice(0, 1)).dropOldest()).toBe(false);
});
