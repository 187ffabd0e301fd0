import { describe, expect, test } from 'vitest';
import { createLineDecoder, readTranscriptIndex, type TranscriptIndex } from '../../src/decode/index.js';
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
const result = (second: number, toolCallId: string, more = {}): string =>
  entry(second, { role: 'toolResult', toolCallId, toolName: 'exec', content: 'done', ...more });
const fails = (second: number): string =>
  entry(second, {
    role: 'assistant',
    stopReason: 'error',
    model: 'm',
    provider: 'p',
    errorMessage: `failure ${second}`,
  });
const answer = (second: number): string =>
  entry(second, { role: 'assistant', stopReason: 'stop', model: 'm', provider: 'p', content: 'answer' });

interface Options {
  sessions?: TranscriptIndex;
  /** In seconds, like the times of the entries. */
  since?: number | undefined;
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

/** The type of each event, with its call id if there is one: `tool.call call-1`. */
const told = (events: AgentEvent[]): string[] =>
  events.map((event) =>
    'call_id' in event && event.call_id ? `${event.type} ${event.call_id}` : event.type,
  );

describe('a transcript that is followed from some time on', () => {
  test('gives no events of runs that had ended by then', () => {
    const lines = [session(0), user(1), asks(2, 'old'), result(3, 'old'), answer(4), user(11), answer(12)];
    const events = decode(lines, { since: 10 });
    expect(told(events)).toEqual(['agent.started', 'llm.tokens', 'agent.finished']);
    expect(events[0]).toMatchObject({ session_key: KEY, run_id: `${SESSION_ID}:entry-11` });
  });

  test('includes events with exactly that timestamp', () => {
    expect(told(decode([session(0), user(10)], { since: 10 }))).toEqual(['agent.started']);
    expect(told(decode([session(0), user(9)], { since: 10 }))).toEqual([]);
  });

  test('remembers at most 1,000 earlier events of a run that continues', () => {
    const calls = Array.from({ length: 1_100 }, (_, index) => `${index}`);
    const events = decode([session(0), user(1), asks(2, ...calls), result(11, '0')], { since: 10 });
    expect(told(events).slice(0, 2)).toEqual(['agent.started', 'tool.call 0']);
    expect(events).toHaveLength(1_001);
  });

  test('gives a run that continues with its true start and its open calls', () => {
    const lines = [
      ...[session(0), user(-2), answer(-1), user(1), asks(2, 'over', 'failed')],
      ...[result(3, 'over'), result(3, 'failed', { isError: true }), asks(4, 'a', 'b'), result(11, 'a')],
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

  test('gives an earlier spawn of a run that continues, so that the child has its parent', () => {
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

  test('gives no events of a run that had been abandoned, or had failed', () => {
    for (const last of [asks(2, 'lost'), fails(2)]) {
      const events = decode([session(0), user(1), last, user(11), answer(12)], { since: 10 });
      expect(told(events)).toEqual(['agent.started', 'llm.tokens', 'agent.finished']);
      const next = decode([session(0), user(1), last, user(3), asks(4, 'a'), result(11, 'a')], { since: 10 });
      expect(told(next)).toEqual(['agent.started', 'tool.call a', 'tool.output a']);
      expect(next[0]?.run_id).toBe(`${SESSION_ID}:entry-3`);
    }
  });

  test('gives a run that had failed and continues with its true start', () => {
    const events = decode([session(0), user(1), fails(2), answer(11)], { since: 10 });
    expect(told(events)).toEqual(['agent.started', 'llm.tokens', 'agent.finished']);
    expect(events[0]?.ts).toBe(Date.parse(at(1)));
  });
});

describe('a transcript', () => {
  test('ends a run that is still open at the next user message as cancelled, at its latest entry', () => {
    const events = decode([session(0), user(1), asks(5, 'lost'), result(3, 'lost'), user(11)]);
    expect(events.find(({ type }) => type === 'agent.finished')).toMatchObject({
      ts: Date.parse(at(5)),
      run_id: `${SESSION_ID}:entry-1`,
      status: 'cancelled',
    });
  });

  test('keeps a run open after a failure, since the model may be called again', () => {
    const events = decode([session(0), user(1), fails(2), fails(3), answer(4), user(5), fails(6), user(7)]);
    const facts = correlate(events).spans.map(({ name, start_ms, error }) => [
      start_ms,
      name,
      error?.message,
    ]);
    expect(facts.toSorted()).toEqual([
      [Date.parse(at(1)), 'invoke_agent main', undefined],
      [Date.parse(at(2)), 'chat m', 'failure 2'],
      [Date.parse(at(3)), 'chat m', 'failure 3'],
      [Date.parse(at(4)), 'chat m', undefined],
      [Date.parse(at(5)), 'invoke_agent main', 'failure 6'],
      [Date.parse(at(6)), 'chat m', 'failure 6'],
      [Date.parse(at(7)), 'invoke_agent main', 'still open when the bridge stopped'],
    ]);
  });

  test('says that a run failed without an answer, but only once', () => {
    const failed = (second: number, customType = 'openclaw:prompt-error'): string =>
      JSON.stringify({
        type: 'custom',
        id: `entry-${second}`,
        customType,
        data: { error: 'request timed out' },
        timestamp: at(second),
      });
    const events = decode([
      session(0),
      failed(1),
      user(2),
      failed(3, 'other'),
      failed(4),
      failed(5),
      user(6),
    ]);
    expect(told(events)).toEqual(['agent.started', 'agent.finished', 'agent.started']);
    expect(events[1]).toMatchObject({
      ts: Date.parse(at(4)),
      status: 'error',
      error: { type: 'error', message: 'request timed out' },
    });
    expect(told(decode([session(0), user(1), fails(2), failed(3)]))).toHaveLength(3);
  });

  test('numbers calls that have the same id', () => {
    const same = (second: number, id: string) => [asks(second, id), result(second + 1, id)];
    const lines = [session(0), user(1), ...same(2, 'x'), ...same(4, 'x'), ...same(6, 'constructor')];
    const calls = (events: AgentEvent[]) => told(events).filter((each) => each.startsWith('tool.'));
    expect(calls(decode([...lines, answer(8), user(9), ...same(10, 'x')]))).toEqual([
      ...['tool.call x', 'tool.output x', 'tool.call x#2', 'tool.output x#2'],
      ...['tool.call constructor', 'tool.output constructor', 'tool.call x', 'tool.output x'],
    ]);
    // OpenClaw removes the call of an unknown tool from its message.
    expect(calls(decode([session(0), user(1), asks(2), result(3, 'x'), ...same(4, 'x')]))).toEqual([
      'tool.output x',
      'tool.call x#2',
      'tool.output x#2',
    ]);
  });

  test('has each result end its own call if calls of one message have the same id', () => {
    const calls = (lines: string[]) => told(decode([session(0), user(1), ...lines])).slice(2);
    const both = [asks(2, 'x', 'x'), result(3, 'x'), result(4, 'x')];
    const given = ['tool.call x', 'tool.call x#2', 'tool.output x', 'tool.output x#2'];
    expect(calls(both)).toEqual(given);
    expect(calls([...both, result(5, 'x')])).toEqual([...given, 'tool.output x#2']);
    // A call without a result does not get that of a later one.
    expect(calls([asks(2, 'x'), asks(3, 'x'), result(4, 'x')]).at(-1)).toBe('tool.output x#2');
  });

  test('has a model call for each answer, even if they all have the same response id', () => {
    const said = (second: number, responseId: string): string =>
      entry(second, {
        role: 'assistant',
        model: 'm',
        provider: 'p',
        usage: { output: 1 },
        responseId,
        content: [
          { type: 'thinking', thinking: 'hm' },
          { type: 'toolCall', id: `${second}`, name: 'exec', arguments: {} },
        ],
      });
    const lines = [session(0), user(1), said(2, 'a'), said(3, 'b'), said(4, 'a'), user(5), said(6, 'a')];
    const events = decode(lines);
    const ids = events.flatMap((event) => (event.type === 'llm.tokens' ? [event.response_id] : []));
    expect(ids).toEqual(['a', 'b', undefined, 'a']);
    const { spans } = correlate(events);
    const chats = spans.filter(({ kind }) => kind === 'chat');
    expect(chats.map(({ start_ms }) => start_ms).toSorted()).toEqual(
      [2, 3, 4, 6].map((each) => Date.parse(at(each))),
    );
    expect(correlate([...events, ...decode(lines)]).spans).toEqual(spans);
  });

  test('remembers at most 1,000 ids of a run', () => {
    const ids = Array.from({ length: 1_001 }, (_, index) => `${index}`);
    const events = decode([session(0), user(1), asks(2, ...ids), asks(3, '0', '999', '1000')]);
    expect(told(events).slice(-3)).toEqual(['tool.call 0#2', 'tool.call 999#2', 'tool.call 1000']);
  });

  test('has an error for a call whose result says that it failed', () => {
    const ended = (details: object): AgentEvent | undefined =>
      decode([
        session(0),
        user(1),
        asks(2, 'x'),
        entry(3, { role: 'toolResult', toolCallId: 'x', content: 'text', isError: false, details }),
      ]).at(-1);
    const error = { type: 'error', message: 'no such file' };
    expect(ended({ status: 'error', error: 'no such file' })).toMatchObject({ type: 'tool.error', error });
    expect(ended({ status: 'timeout' })).toMatchObject({ type: 'tool.error', error: { message: 'text' } });
    expect(ended({ status: 'completed' })).toMatchObject({ type: 'tool.output' });
  });

  test('of a sub-agent gives its spawn with the run of its task, not with an announce run', () => {
    const row = { session_key: KEY, parent_session_key: 'agent:main:p', label: 'Helper' };
    const report = '[Inter-session message] sourceSession=agent:main:subagent:x subagent_announce';
    const goesOn = entry(3, { role: 'user', content: report });
    const events = decode([session(0), user(1), answer(2), goesOn], {
      sessions: new Map([[SESSION_ID, row]]),
    });
    const ofRuns = events.filter(({ type }) => type !== 'llm.tokens' && type !== 'agent.finished');
    expect(ofRuns).toMatchObject([
      { type: 'subagent.spawned', parent_session_key: 'agent:main:p', label: 'Helper' },
      { type: 'agent.started', trigger: 'subagent', parent_session_key: 'agent:main:p' },
      { type: 'agent.started', trigger: 'announce' },
    ]);
  });

  const CHILD = 'agent:main:subagent:59e1daad-3f4e-43f2-935e-59653daa1f92';
  const CHILD_ID = '15513cf5-78c1-4f54-83fc-ff61b0419ab0';
  const done = (name: string): string =>
    `${name} "Child A" just completed successfully.\n\nFindings:\nnone\n\n`;

  test.each([
    ['2026.1', `${done('A background task')}Stats: runtime 1s • sessionKey ${CHILD} • sessionId ${CHILD_ID}`],
    [
      '2026.2',
      `[Tue 2026-12-01 12:24 UTC] [System Message] [sessionId: ${CHILD_ID}] ${done('A subagent task')}`,
    ],
    [
      '2026.3',
      'OpenClaw runtime context (internal):',
      { sourceSessionKey: CHILD, sourceTool: 'subagent_announce' },
    ],
  ])(
    'of a sub-agent that reports, as OpenClaw %s stores it, goes on with the request',
    (_, content, provenance?) => {
      const report = entry(3, { role: 'user', content: [{ type: 'text', text: content }], provenance });
      const sessions = new Map([
        [SESSION_ID, { session_key: KEY }],
        [CHILD_ID, { session_key: CHILD }],
      ]);
      const started = decode([session(0), user(1), answer(2), report], { sessions }).at(-1);
      expect(started).toMatchObject({ trigger: 'announce', run_id: `announce:v1:${CHILD}:entry-3` });
    },
  );

  test('goes on with a request that has yielded if the report of a sub-agent is not stored', () => {
    const yields = JSON.stringify({
      type: 'custom_message',
      customType: 'openclaw.sessions_yield',
      id: 'entry-3',
      timestamp: at(3),
    });
    const lines = [session(0), user(1), asks(2, 'yield'), yields, answer(4), asks(5, 'c'), result(6, 'c')];
    const { spans } = correlate(decode([...lines, answer(7), user(8), answer(9), answer(10)]));
    const runs = spans.filter(({ kind }) => kind === 'run').toSorted((a, b) => a.start_ms - b.start_ms);
    expect(
      runs.map(({ parent_span_id }) => runs.findIndex(({ span_id }) => span_id === parent_span_id)),
    ).toEqual([-1, 0, 1, -1]);
    expect(runs.map(({ attributes }) => attributes['openclaw.trigger'])).toEqual([
      undefined,
      'announce',
      'announce',
      undefined,
    ]);
    expect(spans.filter(({ kind }) => kind === 'chat')).toHaveLength(5);
  });

  test('gives one run if the message of the user is repeated for another attempt', () => {
    const asked = (second: number, idempotencyKey: string): string =>
      entry(second, { role: 'user', content: 'question', idempotencyKey });
    const lines = [session(0), asked(1, 'a:user'), fails(2), asked(3, 'a:user'), answer(4)];
    expect(told(decode(lines))).toEqual([
      ...['agent.started', 'llm.tokens', 'agent.finished', 'llm.tokens', 'agent.finished'],
    ]);
    // The attempts before it were only context.
    expect(told(decode(lines, { since: 3 }))).toEqual(['agent.started', 'llm.tokens', 'agent.finished']);
    expect(told(decode([...lines.slice(0, 3), asked(3, 'b:user')])).at(-1)).toBe('agent.started');
  });

  test('gives a spawn even if only the text of its result names the child', () => {
    const spawn = entry(3, {
      role: 'toolResult',
      toolCallId: 'spawn',
      toolName: 'sessions_spawn',
      content: '{"status": "accepted", "childSessionKey": "agent:main:subagent:child"}',
    });
    const events = decode([session(0), user(1), asks(2, 'spawn'), spawn]);
    expect(events.at(-1)).toMatchObject({
      type: 'subagent.spawned',
      agent_id: 'main',
      session_key: 'agent:main:subagent:child',
      call_id: 'spawn',
    });
  });

  test('counts tokens read from and written to a cache as input', () => {
    const usage = { input: 1, output: 8, cacheRead: 2, cacheWrite: 4 };
    const call = entry(2, { role: 'assistant', stopReason: 'stop', model: 'm', provider: 'p', usage });
    expect(decode([session(0), user(1), call])[1]).toMatchObject({
      input_tokens: 7,
      output_tokens: 8,
      cache_read_tokens: 2,
      cache_write_tokens: 4,
    });
  });

  test('has model calls of Ollama from the entry before them on, since their messages are dated at the end', () => {
    const ended = { role: 'assistant', model: 'm', provider: 'p', stopReason: 'stop', content: 'answer' };
    const dated = (api: string) =>
      decode([
        ...[session(0), user(1), asks(2, 'call-1'), result(4, 'call-1')],
        entry(9, { ...ended, api, timestamp: Date.parse(at(9)) - 5 }),
      ]).find(({ type, ts }) => type === 'llm.tokens' && ts === Date.parse(at(9)));
    expect(dated('ollama')).toMatchObject({ started_at: Date.parse(at(4)), ended_at: Date.parse(at(9)) });
    expect(dated('openai-completions')).toMatchObject({ started_at: Date.parse(at(9)) - 5 });
  });

  test('has a model call for an aborted answer if that used tokens', () => {
    const aborted = (usage: object) =>
      entry(2, { role: 'assistant', stopReason: 'aborted', model: 'm', provider: 'p', usage });
    const callsOf = (usage: object) =>
      decode([session(0), user(1), aborted(usage)]).filter(({ type }) => type === 'llm.tokens');
    expect(callsOf({ input: 5, output: 0 })).toHaveLength(1);
    expect(callsOf({ input: 0, output: 5 })).toHaveLength(1);
    expect(callsOf({ input: 0, output: 0 })).toHaveLength(0);
  });

  test('with two errors in an entry reports the first, and gives the rest of the entry', () => {
    const content = [{}, { id: 5 }, { id: 'good' }].map((call) => ({
      type: 'toolCall',
      name: 'exec',
      ...call,
    }));
    const decoder = createLineDecoder('transcript', INDEX);
    const lines = [session(0), user(1), entry(2, { role: 'assistant', stopReason: 'toolUse', content })];
    const [last] = lines.map((line) => decoder.decode(Buffer.from(line), NOW_MS)).slice(-1);
    expect(told(last?.events ?? [])).toEqual(['llm.tokens', 'tool.call good']);
    expect(last?.rejected).toMatchObject({ path: 'message.call_id', message: 'missing' });
  });

  test('that continues another one does not repeat the entries of that one', () => {
    const lines = [user(1), answer(2), user(11), answer(12)];
    const continuing = [session(10, { parentSession: '/sessions/other.jsonl' }), ...lines];
    for (const since of [undefined, 5])
      expect(told(decode(continuing, { since }))).toEqual(['agent.started', 'llm.tokens', 'agent.finished']);
    expect(decode(continuing, { since: 20 })).toEqual([]);
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

  test('whose session is unknown at first has its key from the first run that starts after it is known', () => {
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
    // Once for the session entry and once per run until the session is known, and not again.
    expect(asked).toBe(3);
  });

  test('has the agent of its directory if its key does not name one', () => {
    const agentIn = (session_key: string) => {
      const sessions: TranscriptIndex = { get: () => ({ session_key }), agent_id: 'helper' };
      return decode([session(0), user(1)], { sessions })[0]?.agent_id;
    };
    expect([agentIn(SESSION_ID), agentIn(KEY)]).toEqual(['helper', 'main']);
  });

  test('whose session gets its parent and its label after the first line has both in its first run', () => {
    const row = { session_key: KEY, parent_session_key: 'agent:main:p', label: 'Helper' };
    const rows = new Map([[SESSION_ID, { session_key: KEY }]]);
    const decoder = createLineDecoder('transcript', rows);
    decoder.decode(Buffer.from(session(0)), NOW_MS);
    rows.set(SESSION_ID, row);
    expect(decoder.decode(Buffer.from(user(1)), NOW_MS).events).toMatchObject([
      { type: 'subagent.spawned', parent_session_key: 'agent:main:p', label: 'Helper' },
      { type: 'agent.started', trigger: 'subagent' },
    ]);
  });

  test('loses nothing that follows a message from which OpenClaw has removed the calls', () => {
    const lines = [
      session(0),
      user(1),
      asks(2),
      result(3, 'removed'),
      asks(4, 'x'),
      result(5, 'x'),
      answer(6),
    ];
    const { spans } = correlate(decode(lines));
    const [run] = spans.filter(({ kind }) => kind === 'run');
    expect(spans.map(({ kind }) => kind).toSorted()).toEqual(['chat', 'chat', 'chat', 'run', 'tool', 'tool']);
    expect(run).toMatchObject({ end_ms: Date.parse(at(6)) });
  });

  test('of a schedule has the trigger cron', () => {
    const scheduled = entry(1, { role: 'user', content: '[cron:job daily] Do it.' });
    const [first, ...others] = decode([session(0), scheduled, answer(2), user(3)]);
    expect(first).toMatchObject({ type: 'agent.started', trigger: 'cron' });
    expect(others.at(-1)).not.toHaveProperty('trigger');
  });

  test('whose last message asks for tools ends its run if OpenClaw has removed the calls from it', () => {
    expect(told(decode([session(0), user(1), asks(2)]))).toEqual([
      'agent.started',
      'llm.tokens',
      'agent.finished',
    ]);
  });
});

describe('the entries of a transcript', () => {
  const asked = [session(0), user(1), asks(2, 'call')];
  const said = (message: object): string =>
    entry(3, { role: 'assistant', model: 'm', provider: 'p', ...message });
  const call = { type: 'toolCall', id: 'more', name: 'exec', arguments: { command: 'ls' } };

  test.each<[string, string[], object]>([
    [
      'a question',
      [session(0), user(1)],
      { type: 'agent.started', input: 'question 1', session_id: SESSION_ID, agent_id: 'main' },
    ],
    [
      'a call',
      [session(0), user(1), said({ content: [call] })],
      { type: 'tool.call', input: { command: 'ls' } },
    ],
    [
      'a call without a name',
      [session(0), user(1), said({ content: [{ type: 'toolCall', id: 'x' }] })],
      { type: 'tool.call', tool: 'unknown' },
    ],
    ['a result', [...asked, result(3, 'call')], { type: 'tool.output', tool: 'exec', output: 'done' }],
    [
      'a failure',
      [...asked, result(3, 'call', { isError: true })],
      { type: 'tool.error', tool: 'exec', error: { type: 'error', message: 'done' } },
    ],
    [
      'the exit code of a command',
      [...asked, result(3, 'call', { isError: true, details: { exitCode: 2 } })],
      { type: 'tool.output', exit_code: 2 },
    ],
    [
      'a child that another tool names',
      [...asked, result(3, 'call', { details: { childSessionKey: 'agent:main:subagent:child' } })],
      { type: 'tool.output' },
    ],
    [
      'an answer',
      [...asked, said({ stopReason: 'stop', content: 'answer' })],
      { type: 'agent.finished', status: 'ok', output: 'answer', stop_reason: 'stop' },
    ],
    [
      'an error',
      [...asked, said({ stopReason: 'error', errorMessage: 'overloaded', content: [call] })],
      { type: 'agent.finished', status: 'error', error: { type: 'error', message: 'overloaded' } },
    ],
    [
      'an error without a message',
      [...asked, said({ stopReason: 'error', content: [] })],
      { type: 'agent.finished', status: 'error', error: { type: 'error', message: 'the run failed' } },
    ],
    [
      'an abort in the middle of a call',
      [...asked, said({ stopReason: 'aborted', content: [call], usage: { input: 1 } })],
      { type: 'agent.finished', status: 'cancelled', stop_reason: 'aborted' },
    ],
    [
      'a yield',
      [
        ...asked,
        JSON.stringify({ type: 'custom_message', customType: 'openclaw.sessions_yield', timestamp: at(3) }),
      ],
      { type: 'agent.finished', status: 'ok', yielded: true, ts: Date.parse(at(3)) },
    ],
  ])('%s', (_name, lines, last) => {
    expect(decode(lines).at(-1)).toMatchObject(last);
  });

  test.each(['toolUse', 'stop', 'length'])(
    'with calls do not end their run, with the stop reason %s',
    (stopReason) => {
      const lines = [
        session(0),
        user(1),
        said({ stopReason, content: [call] }),
        result(4, 'more'),
        answer(5),
      ];
      expect(told(decode(lines))).toEqual([
        ...[
          'agent.started',
          'llm.tokens',
          'tool.call more',
          'tool.output more',
          'llm.tokens',
          'agent.finished',
        ],
      ]);
    },
  );

  test('that come before any question, or after its answer, are of no run', () => {
    expect(decode([session(0), asks(1, 'a'), result(2, 'a'), user(3), answer(4), answer(5)])).toHaveLength(3);
  });

  test('without ids or times of their own have those of their messages', () => {
    const bare = (timestamp: number): string =>
      JSON.stringify({ type: 'message', message: { role: 'user', content: 'x', timestamp } });
    const events = decode([session(0), bare(1_795_000_001_000), bare(1_795_000_002_000)]);
    const starts = events.filter(({ type }) => type === 'agent.started');
    expect(starts.map(({ ts }) => ts)).toEqual([1_795_000_001_000, 1_795_000_002_000]);
    expect(new Set(starts.map(({ run_id }) => run_id)).size).toBe(2);
    expect(new Set(events.map(({ event_id }) => event_id)).size).toBe(events.length);
  });

  test('of two sessions have ids of their own, since a session may begin with a copy of another one', () => {
    const [first] = decode([session(0), user(1)]);
    const [copy] = decode([session(0, { id: 'other' }), user(1)]);
    expect(copy?.event_id).not.toBe(first?.event_id);
  });

  test('are rejected if their session has no id, or has not begun', () => {
    const rejectionOf = (line: string) =>
      createLineDecoder('transcript', INDEX).decode(Buffer.from(line), NOW_MS).rejected;
    expect(rejectionOf(JSON.stringify({ type: 'session' }))).toMatchObject({ path: 'id' });
    expect(rejectionOf(user(1))).toMatchObject({
      path: 'type',
      message: 'a transcript must begin with its session entry',
    });
  });

  test('are recognised by a session entry with an id, or by a message', () => {
    const dialectOf = (line: object): string => {
      const decoder = createLineDecoder('auto', INDEX);
      decoder.decode(Buffer.from(JSON.stringify(line)), NOW_MS);
      return decoder.dialect();
    };
    const lines = [
      { type: 'session', id: 'x' },
      { type: 'message', message: {} },
    ];
    const others = [{ type: 'session' }, { type: 'message', message: 'x' }];
    expect([...lines, ...others].map(dialectOf)).toEqual(['transcript', 'transcript', 'catalog', 'catalog']);
  });

  test('of a user that only quote a report of a sub-agent are questions', () => {
    const report = '[Inter-session message] sourceSession=agent:main:subagent:x subagent_announce';
    for (const content of [`look: ${report}`, report.replace('subagent_announce', 'sessions_send')])
      expect(decode([session(0), entry(1, { role: 'user', content })])[0]).not.toHaveProperty('trigger');
  });
});

describe('the index of sessions', () => {
  test('leaves out what is no session', () => {
    const row = { sessionId: 'a', spawnedBy: 'agent:main:p', label: 'Helper', lastChannel: 'slack' };
    expect([...readTranscriptIndex({ x: null, y: 'z', none: {}, [KEY]: row })]).toEqual([
      ['a', { session_key: KEY, parent_session_key: 'agent:main:p', label: 'Helper', channel: 'slack' }],
    ]);
    expect([...readTranscriptIndex(null)]).toEqual([]);
  });
});
