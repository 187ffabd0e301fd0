import { expect, test } from 'vitest';
import { beginCapture, createTracker, restoreParts } from '../../src/capture/tracked.js';
import { type Entry, TrackedMap } from '../../src/capture/tracked-map.js';
import type { SavedRecord } from '../../src/model/record.js';
import { type Records, savedIn, write } from '../captures.js';

const PREFIX = 'state/things/';

interface Thing extends Entry {
  key: string;
}

const loadThing = (content: unknown): Thing => ({ ...(content as Thing), epoch: 0 });

function open(saved?: SavedRecord[], load = loadThing) {
  const tracker = createTracker('state/');
  const form = {
    keyOf: ({ key }: Thing): string => key,
    save: ({ key, number }: Thing): unknown => ({ key, number }),
    load,
  };
  const map = new TrackedMap<Thing>({ tracker, prefix: PREFIX, ...form });
  const unusable = saved === undefined ? 0 : restoreParts(tracker, () => map, saved);
  return { tracker, map, unusable };
}

test('a value that replaced another is there after a restart, whatever was written first', () => {
  const { tracker, map } = open();
  const records: Records = new Map();
  const set = (key: string): unknown => map.set(key, { key, number: tracker.next_number++, epoch: 0 });
  const capture = (meanwhile: () => void): void => {
    const running = beginCapture(tracker, [map]);
    meanwhile();
    running.advance(Infinity);
    write(records, running);
  };
  const keys = Array.from({ length: 100 }, (_, at) => `${at}`);
  keys.forEach(set);
  capture(() => undefined);
  keys.forEach(set);
  // Entries about to change are written before the rest, and before the removal of the entries that they replaced.
  capture(() => {
    for (const key of keys) map.get(key);
  });
  expect([...open(savedIn(records)).map.keys()].sort()).toEqual(keys.sort());
});

test('an intact record with unexpected content costs only itself', () => {
  const { tracker, map } = open();
  const records: Records = new Map();
  const capture = (from: typeof map, by: typeof tracker): void => {
    const running = beginCapture(by, [from]);
    running.advance(Infinity);
    write(records, running);
  };
  for (const key of ['a', 'b', 'c']) {
    map.set(key, { key, number: tracker.next_number++, epoch: 0 });
    capture(map, tracker);
  }
  const next = open(savedIn(records), (content) => {
    const thing = loadThing(content);
    if (thing.key === 'b') throw new TypeError('not iterable');
    return thing;
  });
  expect([...next.map.keys()]).toEqual(['a', 'c']);
  expect(next.unusable).toBe(1);
  capture(next.map, next.tracker);
  const last = open(savedIn(records));
  expect([...last.map.keys()]).toEqual(['a', 'c']);
  expect(last.unusable).toBe(0);
});
