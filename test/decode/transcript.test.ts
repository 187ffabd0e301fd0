import { describe, expect, test } from 'vitest';
import { createLineDecoder, type TranscriptIndex } from '../../src/decode/index.js';
import type { AgentEvent } from '../../src/model/event.js';
import { correlate, fixture, NOW_MS, readLines, sumOf } from '../helpers.js';

const SESSION_ID = '7d3c2f3e-1111-4222-8333-444455556666';
const KEY = 'agent:main:main';
const INDEX: TranscriptIndex = new Map([[SESSION_ID, { session_key: KEY }]]);

const at = (second: number): string => new Date(1_795_000_000_000 + second * 1000).toISOString();

const entry = (second: number, message: object): string =>
  JSON.stringify({ type: 'message', id: `entry-${second}`, timestamp: at(second), message });
const session = (second: number, more = {}): string =>
  JSON.stringify({ type: 'session', id: SESSION_ID, timestamp: at(second), ...more });
const user = (second: number): string => entry(second, { role: 'user', content: `question ${second}` });
const asks = (second: number, ...calls: string[]): string =>
  entry(second, {
    role: 'assistant',
    stopReason: 'toolUse',
    model: 'm',
    provider: 'p',
    content: calls.map((id) => ({ type: 'toolCall', id, name: 'exec', arguments: {} })),
  });
const result = (second: number, toolCallId: string): string =>
  entry(second, { role: 'toolResult', toolCallId, toolName: 'exec', content: 'done' });
const answer = (second: number): string =>
  entry(second, { role: 'assistant', stopReason: 'stop', model: 'm', provider: 'p', content: 'answer' });

interface Options {
  sessions?: TranscriptIndex;
  /** Seconds, like those of the entries. */
  since?: number;
}

function decode(lines: string[], { sessions = INDEX, since }: Options = {}): AgentEvent[] {
  const since_ms = since === undefined ? undefined : Date.parse(at(since));
  const decoder = createLineDecoder('transcript', sessions, since_ms);
  return lines.flatMap((line) => {
    const { events, rejected } = decoder.decode(Buffer.from(line), NOW_MS);
    expect(rejected).toBeUndefined();
    return events;
  });
}

/** What was told of what: `tool.call call-1`. */
const told = (events: AgentEvent[]): string[] =>
  events.map((event) =>
    'call_id' in event && event.call_id ? `${event.type} ${event.call_id}` : event.type,
  );

describe('a transcript that is followed from an instant on', () => {
  test('tells nothing of what was over by then', () => {
    const lines = [session(0), user(1), asks(2, 'old'), result(3, 'old'), answer(4), user(11), answer(12)];
    const events = decode(lines, { since: 10 });
    expect(told(events)).toEqual(['agent.started', 'llm.tokens', 'agent.finished']);
    expect(events[0]).toMatchObject({ session_key: KEY, run_id: `${SESSION_ID}:entry-11` });
  });

  test('tells of a run that goes on with its true start, and of its open calls', () => {
    const lines = [
      session(0),
      user(1),
      asks(2, 'over'),
      result(3, 'over'),
      asks(4, 'a', 'b'),
      result(11, 'a'),
    ];
    const events = decode([...lines, result(12, 'b'), answer(13)], { since: 10 });
    expect(told(events)).toEqual([
      ...['agent.started', 'tool.call a', 'tool.call b', 'tool.output a', 'tool.output b'],
      ...['llm.tokens', 'agent.finished'],
    ]);
    expect(new Set(events.map(({ run_id }) => run_id))).toEqual(new Set([`${SESSION_ID}:entry-1`]));
    expect(events[0]?.ts).toBe(Date.parse(at(1)));
    const { spans } = correlate(events);
    expect(spans).toHaveLength(4);
    expect(spans.filter((span) => span.attributes['openclaw.partial'])).toEqual([]);
  });

  test('tells whose child a run is that was spawned before', () => {
    const spawn = entry(3, {
      role: 'toolResult',
      toolCallId: 'spawn',
      toolName: 'sessions_spawn',
      content: 'accepted',
      details: { childSessionKey: 'agent:main:subagent:child' },
    });
    const events = decode([session(0), user(1), asks(2, 'spawn'), spawn, answer(11)], { since: 10 });
    expect(told(events)).toEqual(['agent.started', 'subagent.spawned', 'llm.tokens', 'agent.finished']);
    expect(events[1]).toMatchObject({
      session_key: 'agent:main:subagent:child',
      parent_session_key: KEY,
      parent_run_id: `${SESSION_ID}:entry-1`,
    });
  });

  test('tells nothing of a run that had been given up', () => {
    const events = decode([session(0), user(1), asks(2, 'lost'), user(11), answer(12)], { since: 10 });
    expect(told(events)).toEqual(['agent.started', 'llm.tokens', 'agent.finished']);
  });
});

describe('a transcript', () => {
  test('that continues another one does not tell its entries again', () => {
    const lines = [user(1), answer(2), user(11), answer(12)];
    const continued = decode([session(10, { parentSession: '/sessions/other.jsonl' }), ...lines]);
    expect(told(continued)).toEqual(['agent.started', 'llm.tokens', 'agent.finished']);
    expect(told(decode([session(10), ...lines]))).toHaveLength(6);
  });

  test('that is read twice counts once', () => {
    const lines = readLines(fixture('transcripts/502afadc-c6ea-4f42-91c0-c82f3d7863b4.jsonl'));
    const events = decode(lines);
    const once = correlate(events);
    const twice = correlate([...events, ...decode(lines)]);
    expect(twice.spans).toEqual(once.spans);
    expect(twice.logs).toEqual(once.logs);
    const tokens = 'gen_ai.client.inference.usage.input_tokens';
    expect(sumOf(twice, tokens)).toBe(sumOf(once, tokens));
  });

  test('whose session is not known at first gets its key with the first run that finds it known', () => {
    const rows = new Map<string, { session_key: string }>();
    let asked = 0;
    const sessions: TranscriptIndex = {
      get(id) {
        asked += 1;
        return rows.get(id);
      },
    };
    const decoder = createLineDecoder('transcript', sessions);
    const keys = [session(0), user(1), answer(2), user(3), answer(4), user(5)].map((line, index) => {
      if (index === 3) rows.set(SESSION_ID, { session_key: KEY });
      return decoder.decode(Buffer.from(line), NOW_MS).events[0]?.session_key;
    });
    expect(keys).toEqual([undefined, SESSION_ID, SESSION_ID, KEY, KEY, KEY]);
    // At its session entry and with each run until it is known, and not again.
    expect(asked).toBe(3);
  });

  test('whose last message asks for tools that OpenClaw took out of it ends its run', () => {
    expect(told(decode([session(0), user(1), asks(2)]))).toEqual([
      'agent.started',
      'llm.tokens',
      'agent.finished',
    ]);
  });
});
