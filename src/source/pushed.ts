/**
 * The source of events that a program pushes itself. They are read like the lines of any other source, so that they are
 * checked, persisted and counted in the same way. What can't be accepted is refused at once, and counted: telemetry must
 * neither block nor break the program that it reports on.
 */
import type { LineBatch, Source } from '../model/source.js';
import { countReason } from '../util/counter.js';
import type { Line } from './lines.js';
import { createNotifier } from './notifier.js';
import { lineBatch } from './reader.js';

/** The name of the source, and of its one stream. */
export const PUSHED = 'pushed';

/**
 * What became of an event: it was read and applied, or refused, because too much is waiting, because the source is not open or
 * was closed with no time left for it, or because it can't be serialised as JSON.
 */
export type PushOutcome = 'taken' | 'queue_full' | 'not_running' | 'invalid_json';

/** Maximum size of the events that wait to be read, as JSON. A single event may be larger. */
const MAX_WAITING_BYTES = 16 * 1024 * 1024;

/** What an event counts at least, about as much as the smallest valid one: each takes memory besides its JSON. */
const MIN_EVENT_BYTES = 64;

const MAX_BATCH_LINES = 1_000;

export interface PushedSource extends Source {
  /** Resolves when the event has been read and applied, or refused; never rejects. */
  push(event: unknown): Promise<PushOutcome>;
  /** Resolves when every event accepted so far has been applied or refused. */
  applied(): Promise<unknown>;
  /** Number of refused events, by reason. */
  refused(): Record<string, number>;
}

interface Waiting {
  line: Line;
  bytes: number;
  settle(outcome: 'taken' | 'not_running'): void;
}

/** Undefined if the event can't be serialised as JSON, because of a cycle or a BigInt, for example. */
function toJson(event: unknown): Buffer | undefined {
  try {
    return Buffer.from(JSON.stringify(event));
  } catch {
    return undefined;
  }
}

const sizeOf = (json: Buffer): number => Math.max(json.length, MIN_EVENT_BYTES);

export function createPushedSource(max_line_bytes: number): PushedSource {
  const waiting: Waiting[] = [];
  const changed = createNotifier();
  const refused: Record<string, number> = {};
  let waiting_bytes = 0;
  let lines = 0;
  let is_open = false;
  let last: Promise<unknown> = Promise.resolve();

  async function refuse(reason: PushOutcome): Promise<PushOutcome> {
    countReason(refused, reason);
    return reason;
  }

  function append(json: Buffer): Promise<PushOutcome> {
    const number = ++lines;
    const is_long = json.length > max_line_bytes;
    const line: Line = is_long ? { number, skipped: 'line_too_long' } : { number, bytes: json };
    const applied = new Promise<PushOutcome>((resolve) => {
      waiting.push({ line, bytes: sizeOf(json), settle: resolve });
    });
    waiting_bytes += sizeOf(json);
    last = applied;
    changed.notify();
    return applied;
  }

  function answer(count: number, outcome: 'taken' | 'not_running'): void {
    for (const { bytes, settle } of waiting.splice(0, count)) {
      waiting_bytes -= bytes;
      settle(outcome);
    }
  }

  /** Refuses the events that are still waiting when no time is left for them. */
  function refuseWaiting(): void {
    for (const _ of waiting) countReason(refused, 'not_running');
    answer(waiting.length, 'not_running');
  }

  async function* read(): AsyncGenerator<LineBatch> {
    try {
      for (;;) {
        const lines = waiting.slice(0, MAX_BATCH_LINES).map(({ line }) => line);
        if (lines.length > 0) {
          yield lineBatch(PUSHED, lines, false);
          // The consumer pulls the next batch when this one has been applied.
          answer(lines.length, 'taken');
        } else if (!is_open) return;
        else await changed.wait();
      }
    } finally {
      refuseWaiting();
    }
  }

  return {
    name: PUSHED,
    async open() {
      is_open = true;
      return read();
    },
    async close() {
      is_open = false;
      changed.notify();
    },
    push(event) {
      if (!is_open) return refuse('not_running');
      const json = toJson(event);
      if (json === undefined) return refuse('invalid_json');
      const is_full = waiting.length > 0 && waiting_bytes + sizeOf(json) > MAX_WAITING_BYTES;
      return is_full ? refuse('queue_full') : append(json);
    },
    applied: () => last,
    refused: () => ({ ...refused }),
  };
}
