/**
 * What the export tests use instead of time and a network: a clock that sleeping advances, a transport that follows a
 * script, and small records.
 */

import type { Outcome } from '../../src/export/verdict.js';
import type { Emission, LogRecord, SpanRecord } from '../../src/model/telemetry.js';

export const answered = (status: number, body: unknown = '', retry_after_ms?: number): Outcome => ({
  kind: 'answered',
  status,
  body: Buffer.from(typeof body === 'string' ? body : JSON.stringify(body)),
  ...(retry_after_ms === undefined ? {} : { retry_after_ms }),
});
export const OK = answered(200, '{}');
export const UNREACHABLE: Outcome = {
  kind: 'failed',
  reason: 'connection',
  message: 'connect ECONNREFUSED',
  may_be_taken: false,
};
export const BROKEN_OFF: Outcome = {
  kind: 'failed',
  reason: 'connection',
  message: 'socket hang up',
  may_be_taken: true,
};
export const TIMED_OUT: Outcome = {
  kind: 'failed',
  reason: 'timeout',
  message: 'no answer within 10 ms',
  may_be_taken: true,
};

/** A clock that sleeping advances at once. */
export function fakeClock() {
  let now_ms = 1_000_000;
  const slept: number[] = [];
  return {
    slept,
    now: () => now_ms,
    advance(ms: number) {
      now_ms += ms;
    },
    async sleep(ms: number) {
      slept.push(ms);
      now_ms += ms;
    },
  };
}

/** A seeded generator of numbers in [0, 1). */
export function seededRandom(seed = 1): () => number {
  let state = seed >>> 0;
  return () => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    return state / 2 ** 32;
  };
}

type Step = Outcome | ((body: string) => Outcome | Promise<Outcome>);

/** Responds with the steps in turn, then with `last`; records the bodies that were sent. */
export function scriptedPost(steps: Step[], last: Step = OK) {
  const bodies: string[] = [];
  const queue = [...steps];
  return {
    bodies,
    async post(body: Uint8Array): Promise<Outcome> {
      const text = Buffer.from(body).toString();
      bodies.push(text);
      const step = queue.shift() ?? last;
      return typeof step === 'function' ? step(text) : step;
    },
  };
}

/** A promise and the function that resolves it. */
export function deferred<T>() {
  let resolve: (value: T) => void = () => {};
  const promise = new Promise<T>((settle) => {
    resolve = settle;
  });
  return { promise, resolve };
}

export const TRACE_ID = '0af7651916cd43dd8448eb211c80319c';
export const spanId = (number: number): string => number.toString(16).padStart(16, '0');

export const span = (changes: Partial<SpanRecord> = {}): SpanRecord => ({
  trace_id: TRACE_ID,
  span_id: spanId(1),
  kind: 'run',
  name: 'invoke_agent main',
  start_ms: 1_764_000_000_000,
  end_ms: 1_764_000_001_500,
  attributes: { 'gen_ai.operation.name': 'invoke_agent' },
  links: [],
  events: [],
  ...changes,
});

export function openSpan(changes: Partial<SpanRecord> = {}): SpanRecord {
  const { end_ms: _, ...open } = span(changes);
  return open;
}

export const log = (changes: Partial<LogRecord> = {}): LogRecord => ({
  trace_id: TRACE_ID,
  span_id: spanId(1),
  event_name: 'openclaw.tool_call',
  ts_ms: 1_764_000_000_250,
  observed_ms: 1_764_000_000_300,
  severity: 'INFO',
  attributes: { 'openclaw.session.key': 'agent:main:main', 'gen_ai.tool.name': 'exec' },
  ...changes,
});

export const emission = (parts: Partial<Emission>): Emission => ({
  spans: [],
  previews: [],
  corrections: [],
  logs: [],
  measurements: [],
  ...parts,
});

/** Records each log call as one line: level, message and fields. */
export function fakeLogger() {
  const lines: string[] = [];
  const method = (level: string) => (fields: Record<string, unknown> | string, message?: string) => {
    lines.push(
      message === undefined ? `${level} ${fields}` : `${level} ${message} ${JSON.stringify(fields)}`,
    );
  };
  return {
    lines,
    info: method('info'),
    warn: method('warn'),
    error: method('error'),
  };
}
