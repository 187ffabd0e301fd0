/**
 * Checks that captures and restores do not change what a stage does. Captures happen at random and are written in pieces between
 * the steps, early records as soon as they are available; after a crash another process continues from what the store has.
 */
import fc from 'fast-check';
import { expect } from 'vitest';
import type { CaptureOptions } from '../src/capture/tracked.js';
import type { RecordChange, SavedRecord, StagedCapture } from '../src/model/record.js';

export interface Stage {
  capture(options?: CaptureOptions): StagedCapture;
  unusable_records: number;
}

export type Records = Map<string, Uint8Array>;

export const savedIn = (records: Records): SavedRecord[] =>
  Array.from(records, ([key, value]) => ({ key, value }));

function apply(records: Records, changes: readonly RecordChange[]): void {
  expect(new Set(changes.map(({ key }) => key)).size).toBe(changes.length);
  for (const { key, value } of changes) {
    if (value === undefined) records.delete(key);
    else records.set(key, value);
  }
}

/** Writes the records that may be written early, then the rest. */
export function write(records: Records, capture: StagedCapture): void {
  apply(records, capture.takeAhead());
  apply(records, capture.take());
}

/** Completes a capture at once, and writes it. */
export function save(stage: Stage, records: Records = new Map()): Records {
  const capture = stage.capture();
  capture.advance(Infinity);
  write(records, capture);
  return records;
}

type Move =
  | { do: 'step' }
  | { do: 'capture'; everything: boolean }
  | { do: 'advance'; entries: number }
  | { do: 'crash' };

export const moves: fc.Arbitrary<fc.Stream<Move>> = fc.infiniteStream(
  fc.oneof(
    { weight: 8, arbitrary: fc.constant<Move>({ do: 'step' }) },
    {
      weight: 2,
      arbitrary: fc.record({
        do: fc.constant('capture' as const),
        everything: fc.nat(9).map((n) => n === 0),
      }),
    },
    {
      weight: 4,
      arbitrary: fc.record({ do: fc.constant('advance' as const), entries: fc.integer({ min: 1, max: 12 }) }),
    },
    { weight: 1, arbitrary: fc.constant<Move>({ do: 'crash' }) },
  ),
);

const MAX_CRASHES = 6;

export interface Play<S extends Stage> {
  length: number;
  create(saved?: SavedRecord[]): S;
  step(stage: S, index: number): unknown;
}

/** Plays the steps with these moves in between; each step must return what it returns when nothing is captured. */
export function expectUndisturbed<S extends Stage>(play: Play<S>, next: fc.Stream<Move>): void {
  const plain = play.create();
  const wanted = Array.from({ length: play.length }, (_, index) => play.step(plain, index));
  const records: Records = new Map();
  let saved_at = 0;
  let stage = play.create();
  let running: { capture: StagedCapture; at: number; everything: boolean } | undefined;
  let crashes = 0;
  for (let at = 0; at < play.length || crashes === 0; ) {
    const move: Move = at < play.length ? next.next().value : { do: 'crash' };
    switch (move.do) {
      case 'step':
        expect(play.step(stage, at)).toEqual(wanted[at]);
        at++;
        break;
      case 'capture':
        running ??= { capture: stage.capture(move), at, everything: move.everything };
        break;
      case 'advance': {
        if (running === undefined) break;
        const is_complete = running.capture.advance(move.entries);
        apply(records, running.capture.takeAhead());
        if (!is_complete) break;
        if (running.everything) records.clear();
        apply(records, running.capture.take());
        saved_at = running.at;
        running = undefined;
        break;
      }
      case 'crash':
        if (++crashes > MAX_CRASHES) break;
        running = undefined;
        stage = play.create(savedIn(records));
        expect(stage.unusable_records).toBe(0);
        at = saved_at;
    }
  }
}
