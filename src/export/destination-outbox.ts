/**
 * The persistence of a destination: combines the outboxes of its lanes for the part that writes the store.
 */
import type { DestinationOutbox, Signal } from '../model/delivery.js';
import { joinCaptures } from '../model/record.js';
import type { Lane } from './lane.js';
import type { Outbox } from './outbox.js';

/** A lane that persists its pending items. */
export interface StoredLane {
  signal: Signal;
  memory_limit_bytes: number;
  lane: Pick<
    Lane<unknown>,
    'isPressed' | 'isWritable' | 'setWritable' | 'relieve' | 'dropOldest' | 'dropUnstored'
  >;
  outbox: Pick<
    Outbox<unknown>,
    | 'prefix'
    | 'bytes'
    | 'unsaved_bytes'
    | 'since_ms'
    | 'hasAnswers'
    | 'takeAnswers'
    | 'capture'
    | 'endRestore'
  >;
}

export function createDestinationOutbox(lanes: StoredLane[]): DestinationOutbox {
  return {
    prefixes: lanes.map(({ outbox }) => outbox.prefix),
    takeAnswers() {
      const answered = lanes.filter(({ outbox }) => outbox.hasAnswers);
      return Object.fromEntries(answered.map(({ signal, outbox }) => [signal, outbox.takeAnswers()]));
    },
    capture() {
      const captures = lanes.map(({ outbox }) => outbox.capture());
      const { advance, take } = joinCaptures(captures);
      return {
        advance,
        take,
        get changes() {
          return joinCaptures(captures).changes;
        },
        written(ok) {
          for (const capture of captures) capture.written(ok);
          for (const { lane } of lanes) lane.relieve();
        },
      };
    },
    endRestore() {
      for (const { outbox } of lanes) outbox.endRestore();
    },
    bytes: () => lanes.reduce((total, { outbox }) => total + outbox.bytes, 0),
    unsavedBytes: () => lanes.reduce((total, { outbox }) => total + outbox.unsaved_bytes, 0),
    dropOldest() {
      const largest_first = lanes.toSorted((a, b) => b.outbox.bytes - a.outbox.bytes);
      return largest_first.some(({ lane }) => lane.dropOldest());
    },
    memory_limit_bytes: Math.min(...lanes.map((each) => each.memory_limit_bytes)),
    setWritable(is_writable) {
      for (const { lane } of lanes) lane.setWritable(is_writable);
    },
    dropUnstored(message) {
      for (const { lane } of lanes) lane.dropUnstored(message);
    },
    isPressed: () => lanes.some(({ lane }) => lane.isPressed),
    since() {
      const since = lanes.map(({ signal, outbox }) => [signal, outbox.since_ms]);
      return Object.fromEntries(since.filter(([, since_ms]) => since_ms !== undefined));
    },
  };
}
