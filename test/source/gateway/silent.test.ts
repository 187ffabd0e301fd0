/**
 * Recordings of a real gateway in which the model says nothing that is shown: the messages of such calls are stored but not
 * pushed, and of a heartbeat's run only the session's changes are.
 */
import { readFileSync } from 'node:fs';
import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import type { LineBatch, SourceStatus } from '../../../src/model/source.js';
import type { SpanRecord } from '../../../src/model/telemetry.js';
import type { Connection } from '../../../src/source/gateway/connection/connection.js';
import type { EventFrame } from '../../../src/source/gateway/connection/frames.js';
import { createFeed } from '../../../src/source/gateway/feed.js';
import type { Json } from '../../../src/util/json.js';
import { emittedBy } from './recorded.js';

beforeEach(() => void vi.useFakeTimers());
afterEach(() => void vi.useRealTimers());

const fixture = (name: string): string =>
  readFileSync(new URL(`../../fixtures/silent/${name}`, import.meta.url), 'utf8');

const pushedOf = (name: string): { rx: number; frame: EventFrame }[] =>
  fixture(`${name}.ndjson`)
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line));

/** Pushes a recording as the gateway did, which answers with what it had stored by then, and returns the lines that come of it. */
async function linesOf(name: string): Promise<{ lines: string[]; asked: string[] }> {
  const { sessions, activity, rows } = JSON.parse(fixture(`${name}.answers.json`));
  const pushed = pushedOf(name);
  vi.setSystemTime(pushed[0]!.rx - 1_000);
  const answers: Record<string, () => Json> = {
    'sessions.get': () => ({
      messages: rows.filter(
        ({ __openclaw }: { __openclaw: Json }) => Number(__openclaw.recordTimestampMs) <= Date.now(),
      ),
    }),
    'sessions.list': () => ({ sessions }),
    'audit.activity.list': () => ({
      events: activity.filter(({ occurredAt }: Json) => Number(occurredAt) <= Date.now()),
    }),
  };
  const asked: string[] = [];
  const nothing = (): void => undefined;
  const connection: Connection = {
    hello: { protocol: 4, server_version: '', boot_id: 'one', scopes: [], tick_interval_ms: 30_000 },
    clock_offset_ms: 0,
    async call(method) {
      asked.push(method);
      return { ok: true, payload: answers[method]?.() ?? {} };
    },
    ended: new Promise(nothing),
    close: nothing,
    pause: nothing,
    resume: nothing,
  };
  const lines: string[] = [];
  const push = async (item: LineBatch | SourceStatus): Promise<void> => {
    if (item.kind !== 'lines') return;
    for (const line of item.lines) if ('bytes' in line) lines.push(line.bytes.toString('utf8'));
  };
  const say = async (): Promise<void> => undefined;
  const feed = createFeed({ stream: 'ws://test', push, resume: undefined, reportStatus: say, warn: say });
  void feed.follow(connection, new AbortController().signal);
  await vi.advanceTimersByTimeAsync(0);
  for (const { rx, frame } of pushed) {
    await vi.advanceTimersByTimeAsync(Math.max(0, rx - Date.now()));
    feed.onEvent(JSON.stringify(frame), frame);
  }
  await vi.advanceTimersByTimeAsync(5_000);
  return { lines, asked };
}

const tokens = ({ attributes }: SpanRecord): unknown[] =>
  ['gen_ai.response.id', 'gen_ai.usage.input_tokens', 'gen_ai.usage.output_tokens']
    .concat('gen_ai.usage.reasoning.output_tokens')
    .map((name) => attributes[name]);

test('a model call that only reasons, whose message is not pushed, has its tokens and its own end', async () => {
  const { lines, asked } = await linesOf('reasoning-only');
  const chats = emittedBy(lines).spans.filter(({ kind }) => kind === 'chat');
  expect(chats.map(tokens)).toEqual([
    ['chatcmpl-lab-191', 100, 30, 30],
    ['chatcmpl-lab-202', 100, 30, 30],
    ['chatcmpl-lab-206', 100, 30, 30],
  ]);
  expect(chats.map(({ start_ms, end_ms }) => end_ms! - start_ms)).toEqual([2_636, 276, 117]);
  expect(asked.filter((method) => method === 'sessions.get')).toHaveLength(2);
});

test('a run of which only the session has shown the end is asked about, and so is its silent answer', async () => {
  const { lines } = await linesOf('heartbeat');
  const { spans } = emittedBy(lines);
  expect(spans.map(({ kind }) => kind).sort()).toEqual(['chat', 'run']);
  const [chat] = spans.filter(({ kind }) => kind === 'chat');
  expect(chat && tokens(chat)).toEqual(['chatcmpl-lab-207', 50, 5, 0]);
  expect(spans.find(({ kind }) => kind === 'run')).toMatchObject({ error: undefined });
});

test('silent answers of OpenClaw 2026.6, which only the session reports, have their tokens and are in their runs', async () => {
  const { lines } = await linesOf('2026.6.35');
  const { spans } = emittedBy(lines);
  const of = (wanted: string): SpanRecord[] =>
    spans.filter(({ kind }) => kind === wanted).toSorted((a, b) => a.start_ms - b.start_ms);
  expect(of('chat').map(tokens)).toEqual([
    ['chatcmpl-lab-45', 50, 5, 0],
    ['chatcmpl-lab-50', 1200, 150, 64],
    ['chatcmpl-lab-52', 50, 5, 0],
  ]);
  expect(of('chat').map(({ parent_span_id }) => parent_span_id)).toEqual(
    of('run').map(({ span_id }) => span_id),
  );
  expect(of('chat').map(({ start_ms, end_ms }) => end_ms! - start_ms)).toEqual([133, 451, 111]);
});
